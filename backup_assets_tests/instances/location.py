"""A code location with the smallest job, which a launcher's command carries out."""

# No postponed annotations here: Dagster reads the type of the context.

import dagster as dg


@dg.op
def say_hello(context: dg.OpExecutionContext) -> None:
    context.log.info("hello")


@dg.job
def hello_job() -> None:
    say_hello()


defs = dg.Definitions(jobs=[hello_job], executor=dg.in_process_executor)
