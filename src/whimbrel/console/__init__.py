"""The page to watch and steer a migration. It reads the state folder, and does what it does by ``whimbrel.api``."""
