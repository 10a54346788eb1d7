"""What can go wrong in the pipeline.

ParleyError
├── ConfigError      models.yaml says something that cannot be done; stops the start
├── EngineError      an engine cannot be loaded with these options; stops the start
└── StageError       a stage failed in a turn; ends that turn, never the session
    ├── PromptTooLongError what must be in the prompt does not fit
    └── StageTimeoutError  a stage gave no sign of life within its time limit
"""


class ParleyError(Exception):
    """Base of every error that Parley raises on purpose."""


class ConfigError(ParleyError):
    """models.yaml is wrong. The message names the file, the key and the mend."""


class EngineError(ParleyError):
    """An engine cannot be loaded.

    Args:
        problem: what is wrong, a sentence.
        mend: what the reader can do about it, a sentence.
        option: the option at fault, when one is; it becomes part of the key in the message.
    """

    def __init__(self, problem: str, mend: str, option: str | None = None) -> None:
        super().__init__(f"{problem} {mend}")
        self.problem = problem
        self.mend = mend
        self.option = option


class StageError(ParleyError):
    """A stage failed while it worked on a turn.

    Args:
        stage: the stage's key in models.yaml, such as `tts`.
        problem: what went wrong, a sentence for the client.
        code: what a remote service called its error, such as `rate_limit_exceeded`; clients see it in place of
            `<stage>_failed`.
        kind: the type of error that goes with it, such as `insufficient_quota`.
    """

    def __init__(self, stage: str, problem: str, *, code: str | None = None, kind: str = "server_error") -> None:
        super().__init__(problem)
        self.stage = stage
        self.problem = problem
        self.code = code
        self.kind = kind


class PromptTooLongError(StageError):
    """What has to be in the prompt does not fit into the model's context."""


class StageTimeoutError(StageError):
    """A stage gave no sign of life within its time limit."""
