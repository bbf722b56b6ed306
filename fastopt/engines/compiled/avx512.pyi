from typing import Any

FORMULAS: dict[Any, Any]
STAGES: dict[str, Any]
