"""Write the expected.json of cases, for a person to read before it is committed: python -m tests.dms.write NAME…"""

from __future__ import annotations

import json
import sys

from tests.dms.test_cases import CASES, outcome

if __name__ == "__main__":
    for name in sys.argv[1:]:
        text = json.dumps(outcome(CASES / name), indent=2, ensure_ascii=False)
        (CASES / name / "expected.json").write_text(text + "\n", encoding="utf-8")
        print(name, text)
