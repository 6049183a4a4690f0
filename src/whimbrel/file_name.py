"""The usual name of a project file. By itself: the commands show it in their help, and need nothing else of a project
for that.
"""

from __future__ import annotations

FILE_NAME = "whimbrel.toml"
