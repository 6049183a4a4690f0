"""whimbrel: live MySQL and MariaDB data into Amazon DynamoDB, without a stop."""

__version__ = "0.1.0"
