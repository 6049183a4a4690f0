"""Training on SageMaker: the rows go into the bucket, a job learns from them, the model comes back.

The rows are put once, and whoever resumes reads them from there: the order of a data set's rows may differ between two
readings, and with it which rows are held out.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from whimbrel import __version__
from whimbrel.bucket import Bucket
from whimbrel.errors import ModelDamaged, StateError, UserError
from whimbrel.lake.csvfile import COLUMNS
from whimbrel.prediction.aws.client import Client, client_of, tags
from whimbrel.prediction.aws.linear_learner import ALGORITHM, Weights, hyperparameters, image_of, read_weights
from whimbrel.prediction.aws.places import ARTIFACT, TRAINING, bucket, entered
from whimbrel.prediction.aws.training_job import Tell, begun, followed, prefix
from whimbrel.prediction.model.artifact import members
from whimbrel.prediction.model.features import Input
from whimbrel.prediction.model.kept import models_folder
from whimbrel.prediction.model.model import Model, read_model
from whimbrel.prediction.train.project import Data, TrainedModel, described
from whimbrel.project import Project
from whimbrel.project.predict import ModelRule
from whimbrel.project.sagemaker import LINEAR_LEARNER

Channels = Mapping[str, Callable[[Path], object]]  # what writes each as CSV
ROWS = "rows.parquet"
CSV, PARQUET = "text/csv", "application/x-parquet"
_AGAIN = "Remove this object and train it again: a job whose model is there is not repeated."
_BLOCK = 5_000  # rows of a matrix that are written at a time


def trained_on_sagemaker(
    project: Project, rule: ModelRule, data: Data, tell: Tell, stop: threading.Event
) -> TrainedModel:
    """As ``train.project.trained``. A job that an earlier process began is found again, and followed.

    Raises TrainingError, WorkerLost, ModelDamaged, and what ``Client.ask`` and the bucket raise.
    """
    client = client_of(project, stop)
    try:
        return _Training(project, rule, data, client, tell).trained()
    finally:
        client.close()


def rows_of(project: Project, base: str) -> Any:
    """The rows that a job was made of, as an Arrow table."""
    import pyarrow.parquet

    there = bucket(project)
    found = there.get(f"{TRAINING}/{base}/train/{ROWS}")
    if found is None:
        hint = "Run the renewal again."
        raise StateError("the rows of the training job are gone", place=there.url(f"{TRAINING}/{base}"), hint=hint)
    return pyarrow.parquet.read_table(BytesIO(found))


def base_of(project: Project, rule: ModelRule, manifest: str) -> str:
    """What the names of the jobs begin with that train this model from this data set."""
    settings, training = project.predict.sagemaker, rule.training
    assert settings, "the project file was refused without it"
    about = [manifest, rule.settings(), repr(training), settings.role, settings.image, settings.algorithm_image]
    digest = sha256(orjson.dumps([*about, settings.key, __version__], option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"{prefix(rule.name)}-{digest[:20]}"


class _Training:
    def __init__(self, project: Project, rule: ModelRule, data: Data, client: Client, tell: Tell) -> None:
        self._project, self._rule, self._data = project, rule, data
        self._client, self._tell = client, tell
        self._base = base_of(project, rule, data.manifest)
        self._bucket: Bucket = bucket(project)
        self._bucket.attend(client.stop)

    def trained(self) -> TrainedModel:
        self._put_rows()
        model, path = self._by_algorithm() if self._rule.learner == LINEAR_LEARNER else self._by_container()
        return described(model, path)

    def _put_rows(self) -> None:
        """Where they are there already, another process put them: whole, and of the same data set."""
        import pyarrow.parquet

        when = {"as_of": self._data.as_of, "position": self._data.position}
        about = {"columns": [self._rule.target], "header": True, "id": self._data.manifest, **when}
        self._bucket.put_new(self._name(f"train/{COLUMNS}"), orjson.dumps(about))
        self._put(f"train/{ROWS}", lambda path: pyarrow.parquet.write_table(self._data.table, path))

    def _put(self, name: str, write: Callable[[Path], object]) -> None:
        with TemporaryDirectory(dir=self._folder()) as folder:
            file = Path(folder) / "part"
            write(file)
            with suppress(FileExistsError):
                self._bucket.put_file(self._name(name), file)

    def _folder(self) -> Path:
        folder = models_folder(self._project, self._rule.name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _by_container(self) -> tuple[Model, Path]:
        """whimbrel's own training, in its container."""
        image = self._client.settings.image
        told = _as_hyperparameters(self._rule)
        output = self._run(image, told, {"train": (f"{self._base}/train/", PARQUET)})
        found = self._members(f"{output}/output/{ARTIFACT}")
        files = [data for name, data in found.items() if name.endswith((".json", ".json.gz"))]
        place = self._bucket.url(f"{TRAINING}/{output}/output/{ARTIFACT}")
        if len(files) != 1:
            raise ModelDamaged(f"it has {len(files)} model files, not one", place=place, hint=_AGAIN)
        model = read_model(files[0], place)
        there = (model.manifest, model.position)
        if there != (self._data.manifest, self._data.position) or model.facts["settings"] != _plain(
            self._rule.settings()
        ):
            raise ModelDamaged(
                f"it is a model of the data set {model.manifest!r}, or of other settings",
                place=place,
                hint=f"Is the image of this version of whimbrel? {_AGAIN}",
            )
        return entered(self._project, self._rule.name, files[0], self._report(output), place)

    def _by_algorithm(self) -> tuple[Model, Path]:
        """linear-learner learns from our columns; everything before and after is what a local training does."""
        from whimbrel.prediction.train.train import model_path, train

        table = rows_of(self._project, self._base)
        folder = models_folder(self._project, self._rule.name)
        data, learner = self._data, _LinearLearner(self)
        model: Model = train(
            self._rule,
            table,
            manifest_id=data.manifest,
            as_of=data.as_of,
            position=data.position,
            folder=folder,
            learner=learner,
        )
        return model, model_path(folder, model.version)

    def weights(self, kind: str, outputs: int, channels: Channels, shape: tuple[int, int]) -> Weights:
        """The weights that linear-learner finds; ``shape`` is that of its training data: rows, columns."""
        for channel, write in channels.items():
            self._put(f"{channel}-csv/part.csv", write)
        machine = self._rule.training
        assert machine, "asked before"
        told = hyperparameters(kind, shape[1], outputs, shape[0], self._rule.balance, machine.hyperparameters)
        image = self._client.settings.algorithm_image or image_of(self._client.session.region)
        if not image:
            hint = "Set algorithm_image in [sagemaker]; AWS lists the images by region."
            raise UserError(f"the image of linear-learner in {self._client.session.region} is not known", hint=hint)
        output = self._run(image, told, {each: (f"{self._base}/{each}-csv/", CSV) for each in channels})
        place = self._bucket.url(f"{TRAINING}/{output}/output/{ARTIFACT}")
        found = self._members(f"{output}/output/{ARTIFACT}")
        if set(found) != {ALGORITHM}:
            said = f"it has {', '.join(sorted(found)) or 'nothing'} in it, not {ALGORITHM}"
            raise ModelDamaged(said, place=place, hint=_AGAIN)
        return read_weights(found[ALGORITHM], place, kind, shape[1], outputs)

    def _run(self, image: str, told: dict[str, str], channels: dict[str, tuple[str, str]]) -> str:
        """The name of the job, which has ended with a model. All its channels are durable before it is asked for."""
        name = begun(self._client, self._base, self._request(image, told, channels), self._lost)
        log = models_folder(self._project, self._rule.name) / "jobs" / f"{name}.log"
        found = followed(self._client, self._rule.name, name, log, self._tell)
        there = found.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")
        wanted = self._bucket.url(f"{TRAINING}/{name}/output/{ARTIFACT}")
        if there != wanted:
            raise StateError(f"its model is at {there!r}, not at {wanted}", place=name, hint="Train it again.")
        return name

    def _lost(self, job: str) -> bool:
        """Whether the artifact was removed, as the template's bucket does with old ones."""
        return not self._bucket.file(f"{TRAINING}/{job}/output/{ARTIFACT}").exists()

    def _request(self, image: str, told: dict[str, str], channels: dict[str, tuple[str, str]]) -> dict[str, Any]:
        settings, machine = self._client.settings, self._rule.training
        assert machine, "asked before"
        key = {"KmsKeyId": settings.key} if settings.key else {}
        volume = {"VolumeKmsKeyId": settings.key} if settings.key else {}
        stopping = {"MaxRuntimeInSeconds": machine.longest}
        if machine.spot:
            stopping["MaxWaitTimeInSeconds"] = machine.longest_wait
        request: dict[str, Any] = {
            "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
            "RoleArn": settings.role,
            "HyperParameters": told,
            "InputDataConfig": [self._channel(name, *each) for name, each in channels.items()],
            "OutputDataConfig": {"S3OutputPath": self._bucket.url(TRAINING), **key},
            "ResourceConfig": {
                "InstanceType": machine.instance,
                "InstanceCount": 1,
                "VolumeSizeInGB": machine.volume_gb,
                **volume,
            },
            "StoppingCondition": stopping,
            "EnableManagedSpotTraining": machine.spot,
            "EnableInterContainerTrafficEncryption": False,  # there is one machine
            "Tags": tags(settings),
        }
        if settings.subnets:
            vpc = {"Subnets": list(settings.subnets), "SecurityGroupIds": list(settings.security_groups)}
            request["VpcConfig"] = vpc
        return request

    def _channel(self, name: str, folder: str, kind: str) -> dict[str, Any]:
        source = {
            "S3DataType": "S3Prefix",
            "S3Uri": self._bucket.url(f"{TRAINING}/{folder}"),
            "S3DataDistributionType": "FullyReplicated",
        }
        return {
            "ChannelName": name,
            "DataSource": {"S3DataSource": source},
            "ContentType": kind,
            "CompressionType": "None",
            "InputMode": "File",
        }

    def _members(self, name: str) -> dict[str, bytes]:
        place = f"{TRAINING}/{name}"
        try:
            with self._bucket.open(place) as file:
                return members(file, self._bucket.url(place))
        except FileNotFoundError:
            hint = "Train it again."
            raise StateError("the job has left no model", place=self._bucket.url(place), hint=hint) from None
        except UserError as error:
            raise ModelDamaged(error.message, place=error.place, hint=_AGAIN) from None

    def _report(self, output: str) -> bytes:
        """What the job wrote for people; empty where it is gone, since nothing depends on it."""
        try:
            found = self._members(f"{output}/output/output.tar.gz")
        except (StateError, ModelDamaged):
            return b""
        return found.get("report.html", b"")

    def _name(self, name: str) -> str:
        return f"{TRAINING}/{self._base}/{name}"


class _LinearLearner:
    """SageMaker's algorithm in place of a learner in this process: see train.Learner."""

    once, form = True, "linear"

    def __init__(self, training: _Training) -> None:
        from whimbrel.prediction.train import linear

        self._training, self._linear = training, linear
        self._found: Any = None

    def matrix(self, inputs: Sequence[Input], columns: Any) -> Any:
        return self._linear.matrix(inputs, columns)

    def search(self, data: Any, target: Any, weights: Any, kind: str, parts: Any, seed: int) -> Any:
        """One job: it learns from the rows of the fold, and chooses by those that the fold judges."""
        import numpy as np

        from whimbrel.prediction.train.search import Choice

        (part,) = parts
        outputs = int(target.max()) + 1 if kind == "multiclass" else 1
        mixed = np.random.default_rng(seed).permutation(part.fit)  # the algorithm wants them in no order
        channels = {
            "train": lambda path: write_channel(path, data, target, mixed),
            "validation": lambda path: write_channel(path, data, target, part.held),
        }
        self._found = self._training.weights(kind, outputs, channels, (len(mixed), data.shape[1]))
        margins = self._sums(data[part.held])
        return Choice({"algorithm": LINEAR_LEARNER}, margins, [])

    def fit(self, data: Any, target: Any, weights: Any, kind: str, inputs: Any, setting: Any, seed: int) -> Any:
        """What the job has found; the rows that the fold judged were not learned from."""
        import numpy as np

        columns, start = np.array(self._found.columns, dtype=float), np.array(self._found.start, dtype=float)
        return self._linear.as_linear(columns, start, inputs, 0.0), self._sums(data)

    def _sums(self, data: Any) -> Any:
        import numpy as np

        return np.asarray(data @ np.array(self._found.columns, dtype=float)) + np.array(self._found.start, dtype=float)


def write_channel(path: Path, data: Any, target: Any, rows: Any) -> None:
    """CSV as linear-learner wants it: the label first, then our columns, numbers alone, and no header."""
    import pyarrow as pa
    from pyarrow import csv

    options = csv.WriteOptions(include_header=False)
    with path.open("wb") as file:
        for first in range(0, len(rows), _BLOCK):
            some = rows[first : first + _BLOCK]
            block = data[some].toarray()
            columns = [pa.array(target[some]), *(pa.array(column) for column in block.T)]
            csv.write_csv(pa.table(columns, names=[str(number) for number in range(len(columns))]), file, options)


def _as_hyperparameters(rule: ModelRule) -> dict[str, str]:
    """The rule as strings, as the container reads them (sagemaker/training_job.py)."""
    return {key: json.dumps(value) for key, value in rule.settings().items() if value not in ("", (), {})}


def _plain(settings: dict[str, Any]) -> Any:
    return orjson.loads(orjson.dumps(settings))
