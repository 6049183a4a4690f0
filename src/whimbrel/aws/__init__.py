"""What a project needs on AWS: its policies, the template that makes everything, the function's package."""
