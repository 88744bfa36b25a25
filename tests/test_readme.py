"""The Python code of the README runs from top to bottom."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_code_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    exec("\n".join(blocks), {"__name__": "readme"})
    assert (tmp_path / "model.pb").stat().st_size > 0
    assert list((tmp_path / "checkpoints").glob("ckpt-1.*"))
