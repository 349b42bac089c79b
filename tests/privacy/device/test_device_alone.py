"""The folder of the device runs alone, under another name, where nothing but NumPy is installed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import sparsetheory.privacy.device as device

SOURCE = Path(next(iter(device.__path__)))
VECTORS = Path(__file__).parent / "message_vectors.json"
# Small enough to be read in an hour before it is trusted with data.
_LINES, _BYTES = 2000, 80_000

_SCRIPT = """
import json, sys

class OnlyNumPy:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in sys.stdlib_module_names and root not in ("numpy", "pocket"):
            raise ImportError(f"{name} is not on this device")

sys.meta_path.insert(0, OnlyNumPy())
sys.path[:0] = sys.argv[1:3]
import numpy as np
from pocket.client import LDPClient
from pocket.schema import LDPSchema

messages = []
for collection in json.load(open(sys.argv[3]))["messages"]:
    client = LDPClient.from_schema(LDPSchema.from_json(collection["schema"]))
    for record in collection["records"]:
        words = np.array([int(word) for word in record["coin"]], dtype=np.uint64)
        messages.append(client.encode(record["x"], record["y"], int(record["user"]), coin=lambda n: words[:n]).hex())
        assert len(client.encode(record["x"], record["y"], 1)) == len(messages[-1]) // 2  # with the real coin
foreign = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(json.dumps([messages, sorted(foreign)]))
"""


def test_the_folder_alone_sends_the_published_bytes(tmp_path):
    shutil.copytree(SOURCE, tmp_path / "pocket", ignore=shutil.ignore_patterns("__pycache__"))
    numpy_folder = str(Path(np.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _SCRIPT, str(tmp_path), numpy_folder, str(VECTORS)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    messages, foreign = json.loads(run.stdout)
    published = json.loads(VECTORS.read_text(encoding="utf-8"))["messages"]
    assert messages == [record["message"] for collection in published for record in collection["records"]]
    assert not {"sparsetheory", "scipy", "numba", "llvmlite"} & set(foreign)
    assert {"numpy", "pocket"} <= set(foreign)


def test_the_folder_is_small():
    files = list(SOURCE.glob("*.py"))
    text = [file.read_bytes() for file in files]
    assert sum(content.count(b"\n") for content in text) <= _LINES
    assert sum(map(len, text)) <= _BYTES
