"""What speaks as SageMaker does: control, containers, training jobs."""
