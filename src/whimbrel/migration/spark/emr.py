"""Spark by a cluster of EMR that is there: a step of it runs spark-submit."""

from __future__ import annotations

from typing import Any

from whimbrel.migration.spark.runner import JobState, Submission, called, said, settings

_RUNNING = ("PENDING", "CANCEL_PENDING", "RUNNING")


class EmrRunner:
    def __init__(self, submission: Submission, client: Any) -> None:
        self._submission = submission
        self._client = client
        self._cluster = submission.spark.cluster
        self._place = f"EMR cluster {self._cluster}"

    def submit(self) -> str:
        step = {
            "Name": self._submission.name,
            "ActionOnFailure": "CONTINUE",  # the cluster is not ours
            "HadoopJarStep": {"Jar": "command-runner.jar", "Args": self._words()},
        }
        answer = called(self._client.add_job_flow_steps, self._place, JobFlowId=self._cluster, Steps=[step])
        ids = answer.get("StepIds") or [""]
        return said({"StepIds": ids[0]}, self._place, "StepIds")

    def state(self, job: str) -> JobState:
        answer = called(self._client.describe_step, self._place, ClusterId=self._cluster, StepId=job)
        word = said(answer, self._place, "Step", "Status", "State")
        if word in _RUNNING:
            return JobState(True, word)
        status = answer["Step"]["Status"]
        reasons = [
            status.get("FailureDetails", {}).get("Message", ""),
            status.get("StateChangeReason", {}).get("Message", ""),
        ]
        why = next(filter(None, reasons), "")
        return JobState(False, word, "" if word == "COMPLETED" else f"{word}: {why}" if why else word)

    def cancel(self, job: str) -> None:
        called(
            self._client.cancel_steps,
            self._place,
            ClusterId=self._cluster,
            StepIds=[job],
            StepCancellationOption="TERMINATE_PROCESS",
        )

    def where(self, job: str) -> str:
        return f"aws emr describe-step --cluster-id {self._cluster} --step-id {job}"

    def close(self) -> None:
        self._client.close()

    def _words(self) -> list[str]:
        submission = self._submission
        spark = submission.spark
        python = {
            "spark.yarn.appMasterEnv.PYSPARK_PYTHON": spark.python,
            "spark.executorEnv.PYSPARK_PYTHON": spark.python,
        }
        words = ["spark-submit", "--deploy-mode", "cluster", "--name", submission.name]
        words += [part for name, value in (settings(spark) | python).items() for part in ("--conf", f"{name}={value}")]
        words += ["--py-files", spark.archive, submission.boot]
        return [*words, *(part for word in submission.arguments.items() for part in word)]
