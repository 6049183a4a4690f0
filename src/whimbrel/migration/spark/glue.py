"""Spark by AWS Glue: a run of a Glue job that is there, with our file for its script."""

from __future__ import annotations

from typing import Any

from whimbrel.migration.spark.runner import JobState, Submission, called, said, settings
from whimbrel.project.spark import GLUE_CORES

WORKER = "G.1X"  # one of them is the driver's
_RUNNING = ("STARTING", "RUNNING", "STOPPING", "WAITING")


class GlueRunner:
    def __init__(self, submission: Submission, client: Any) -> None:
        self._submission = submission
        self._client = client
        self._job = submission.spark.job
        self._place = f"Glue job {self._job}"

    def submit(self) -> str:
        spark = self._submission.spark
        answer = called(
            self._client.start_job_run,
            self._place,
            JobName=self._job,
            WorkerType=WORKER,
            NumberOfWorkers=spark.tasks // GLUE_CORES + 1,
            Arguments={
                "--scriptLocation": self._submission.boot,
                "--extra-py-files": spark.archive,
                # The first name is the argument's own.
                "--conf": " --conf ".join(f"{name}={value}" for name, value in settings(spark).items()),
                **self._submission.arguments,
            },
        )
        return said(answer, self._place, "JobRunId")

    def state(self, job: str) -> JobState:
        answer = called(self._client.get_job_run, self._place, JobName=self._job, RunId=job)
        word = said(answer, self._place, "JobRun", "JobRunState")
        if word in _RUNNING:
            return JobState(True, word)
        message = answer["JobRun"].get("ErrorMessage", "")
        return JobState(False, word, "" if word == "SUCCEEDED" else f"{word}: {message}" if message else word)

    def cancel(self, job: str) -> None:
        called(self._client.batch_stop_job_run, self._place, JobName=self._job, JobRunIds=[job])

    def where(self, job: str) -> str:
        return f"aws logs tail /aws-glue/jobs/error --log-stream-name-prefix {job}"

    def close(self) -> None:
        self._client.close()
