"""Spark by EMR Serverless: an application that is there runs the job."""

from __future__ import annotations

from typing import Any

from whimbrel.migration.spark.runner import JobState, Submission, called, memory, said, settings

_ENDED = {"SUCCESS": "", "FAILED": "it failed", "CANCELLED": "it was cancelled"}


class EmrServerlessRunner:
    def __init__(self, submission: Submission, client: Any) -> None:
        self._submission = submission
        self._client = client
        self._application = submission.spark.application
        self._place = f"EMR Serverless application {self._application}"

    def submit(self) -> str:
        """The same name again gives the same job: the service compares the token."""
        answer = called(
            self._client.start_job_run,
            self._place,
            applicationId=self._application,
            clientToken=self._submission.name,
            executionRoleArn=self._submission.spark.role,
            name=self._submission.name,
            jobDriver={
                "sparkSubmit": {
                    "entryPoint": self._submission.boot,
                    "entryPointArguments": [part for word in self._submission.arguments.items() for part in word],
                    "sparkSubmitParameters": self._parameters(),
                }
            },
        )
        return said(answer, self._place, "jobRunId")

    def state(self, job: str) -> JobState:
        answer = called(self._client.get_job_run, self._place, applicationId=self._application, jobRunId=job)
        word = said(answer, self._place, "jobRun", "state")
        if word not in _ENDED:
            return JobState(True, word)
        details = answer["jobRun"].get("stateDetails", "")
        return JobState(False, word, f"{_ENDED[word]}: {details}" if _ENDED[word] and details else _ENDED[word])

    def cancel(self, job: str) -> None:
        called(self._client.cancel_job_run, self._place, applicationId=self._application, jobRunId=job)

    def where(self, job: str) -> str:
        return f"aws emr-serverless get-dashboard-for-job-run --application-id {self._application} --job-run-id {job}"

    def close(self) -> None:
        self._client.close()

    def _parameters(self) -> str:
        spark = self._submission.spark
        python = {
            "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": spark.python,
            "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": spark.python,
            "spark.executorEnv.PYSPARK_PYTHON": spark.python,
        }
        words = [f"--conf {name}={value}" for name, value in (settings(spark) | memory(spark) | python).items()]
        return " ".join([*words, f"--py-files {spark.archive}"])
