"""What people would use instead of whimbrel, in a virtual environment of their own: WHIMBREL_RIVALS, else
.servers/rivals. It is made with pip when it is first needed.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RIVALS = Path(os.environ.get("WHIMBREL_RIVALS", ".servers/rivals"))
PACKAGES = [
    "mlserver",
    "mlserver-sklearn",
    "flask",
    "gunicorn",
    "gevent",
    "pandas",
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "granian",
    "polars",
    "connectorx",
    "pyarrow",
    "pydynox",
    "aiodynamo[aiohttp]",
    "dlt[duckdb,postgres,sql_database]",
    "pymysql",
    "sqlalchemy",
]


@dataclass
class Contestant:
    """How to start a server, and what to ask of it."""

    name: str
    command: list[str]
    path: str
    body: bytes
    content_type: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)


def their_python() -> Path:
    """Raises OSError or CalledProcessError where the environment cannot be had; WHIMBREL_RIVALS=none does without."""
    if RIVALS.name == "none":
        raise OSError("WHIMBREL_RIVALS is none")
    python, has = (RIVALS / "bin" / "python").absolute(), RIVALS / "has.txt"
    if not has.exists() or has.read_text().split() != PACKAGES:
        subprocess.run([sys.executable, "-m", "venv", str(RIVALS)], check=True, capture_output=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True, capture_output=True)
        has.write_text("\n".join(PACKAGES))
    return python


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def same_scorer(folder: Path, model: Path, body: bytes) -> Iterator[Contestant]:
    """Our own scorer behind the servers that an expert would choose: what is left is what the server costs."""
    place = folder / "same-scorer"
    place.mkdir()
    for name, text in (("asgi", _ASGI), ("fastscorer", _FASTAPI_SCORER), ("scorer", _SCORER)):
        (place / f"{name}.py").write_text(text)
    try:
        tools = their_python().parent
    except (OSError, subprocess.CalledProcessError):
        return  # said by ``rivals``
    ours = [str(Path("src").absolute()), *(path for path in sys.path if path.endswith("site-packages"))]
    environment = {"MODEL": str(model), "PYTHONPATH": os.pathsep.join([*ours, str(place)])}
    uvicorn = [str(tools / "uvicorn"), "--port", "{port}", "--log-level", "error", "--no-access-log"]
    granian = [str(tools / "granian"), "--interface", "asgi", "--port", "{port}", "--workers", "1", "--log-level"]
    for name, command in (
        ("the same scorer, ASGI on uvicorn", [*uvicorn, "asgi:app"]),
        ("the same scorer, ASGI on granian", [*granian, "error", "asgi:app"]),
        ("the same scorer, FastAPI on uvicorn", [*uvicorn, "fastscorer:app"]),
    ):
        yield Contestant(name, command, "/invocations", body, "text/csv", place, environment)


def rivals(folder: Path, data: Any, row: dict[str, Any]) -> Iterator[Contestant]:
    """The contestants of other hands, or nothing and a word about it."""
    try:
        python = their_python()
        place = folder / "rivals"
        place.mkdir()
        _write_rivals(place, data)
        subprocess.run([python, "train.py"], cwd=place, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"(without MLServer, FastAPI and gunicorn: {getattr(error, 'stderr', b'') or error!r})\n")
        return
    body = ",".join(str(value) for name, value in row.items() if name not in ("customer_id", "y")).encode()
    values = json.loads((place / "row.json").read_text())
    ask = {"inputs": [{"name": "x", "shape": [1, len(values)], "datatype": "FP64", "data": values}]}
    tools, quiet = python.parent, {"OMP_NUM_THREADS": "1"}
    ports = {"MLSERVER_HTTP_PORT": "{port}", "MLSERVER_GRPC_PORT": str(free_port())}
    ports |= {"MLSERVER_METRICS_PORT": str(free_port())}
    mlserver = [str(tools / "mlserver"), "start", "."]
    path, text = "/v2/models/bank/infer", "text/csv"
    yield Contestant(
        "MLServer, scikit-learn on an array",
        mlserver,
        path,
        json.dumps(ask).encode(),
        "application/json",
        place,
        quiet | ports,
    )
    serve = [str(tools / "uvicorn"), "fast:app", "--port", "{port}", "--log-level", "error"]
    yield Contestant("FastAPI + uvicorn, pipeline on pandas", serve, "/invocations", body, text, place, quiet)
    serve = [str(tools / "gunicorn"), "plain:app", "-b", "127.0.0.1:{port}", "-k", "gevent"]
    yield Contestant("gunicorn + Flask, pipeline on pandas", serve, "/invocations", body, text, place, quiet)


def _write_rivals(place: Path, data: Any) -> None:
    import pyarrow.csv

    pyarrow.csv.write_csv(data, place / "bank.csv")
    for name, text in (("train", _TRAIN), ("answer", _ANSWER), ("plain", _FLASK), ("fast", _FASTAPI)):
        (place / f"{name}.py").write_text(text)
    settings = {
        "name": "bank",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "plain.joblib"},
    }
    (place / "model-settings.json").write_text(json.dumps(settings))
    server = {"parallel_workers": 0, "host": "127.0.0.1", "debug": False}
    (place / "settings.json").write_text(json.dumps(server))


_TRAIN = """
import json, sys, joblib, numpy, pandas
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
data = pandas.read_csv("bank.csv")
y, x = data.pop("y"), data.drop(columns="customer_id")
words = [name for name in x if x[name].dtype.kind not in "if"]
numbers = [name for name in x if name not in words]
columns = ColumnTransformer([("w", OneHotEncoder(handle_unknown="ignore"), words), ("n", StandardScaler(), numbers)])
pipeline = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(x, y)
joblib.dump((pipeline, list(x)), "pipeline.joblib")
plain = columns.fit_transform(x)
plain = plain.toarray() if hasattr(plain, "toarray") else plain
joblib.dump(LogisticRegression(max_iter=500).fit(plain, y), "plain.joblib")
json.dump(plain[7].tolist(), open("row.json", "w"))
"""
_ANSWER = """
import io, json, joblib, pandas
pipeline, names = joblib.load("pipeline.joblib")
def answer(body):
    frame = pandas.read_csv(io.BytesIO(body), header=None, names=names)
    scores = pipeline.predict_proba(frame)[:, 1]
    return {"predictions": [{"score": float(score), "predicted_label": int(score > 0.5)} for score in scores]}
"""
_SCORER = """
import os
from pathlib import Path
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.serve.served import Call, Served
served = Served("model", load_model(Path(os.environ["MODEL"])))
def answer(body):
    return served.answer(Call(body, "text/csv", ""))
"""
_ASGI = """
from scorer import answer
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    said = answer(body)
    headers = [(b"content-type", said.content_type.encode()), (b"content-length", str(len(said.body)).encode())]
    await send({"type": "http.response.start", "status": said.status, "headers": headers})
    await send({"type": "http.response.body", "body": said.body})
"""
_FASTAPI_SCORER = """
from fastapi import FastAPI, Request, Response
from scorer import answer
app = FastAPI()
@app.post("/invocations")
async def invocations(request: Request):
    said = answer(await request.body())
    return Response(said.body, said.status, media_type=said.content_type)
"""
_FLASK = """
from flask import Flask, jsonify, request
from answer import answer
app = Flask(__name__)
@app.post("/invocations")
def invocations():
    return jsonify(answer(request.get_data()))
"""
_FASTAPI = """
from fastapi import FastAPI, Request
from answer import answer
app = FastAPI()
@app.post("/invocations")
async def invocations(request: Request):
    return answer(await request.body())
"""
