"""Training and endpoints on SageMaker: ``engine = "sagemaker"``."""
