"""The refusals of the control plane, in the API's own codes.

Services raise `ServiceError`; the API turns it into `{error_code, error_msg}` and nothing else ever leaves it. Code, status
and standard text stand in one table, taken from the contract; a message begins with the standard text and goes on with what is
wrong and what to do.
"""

from __future__ import annotations

MESSAGE_CHARS_MAX = 512
"""The API documents `error_msg` with at most 512 characters; longer messages are cut."""

CODES: dict[str, tuple[int, str]] = {
    "FDI.3002": (400, "Invalid parameters."),
    "FDI.3016": (400, "Failed to test the connectivity."),
    "FDI.3019": (400, "Failed to stop the real-time task."),
    "FDI.3020": (400, "Failed to stop the scheduled task."),
    "FDI.3021": (400, "One or more tasks do not exist."),
    "FDI.3022": (400, "One or more tasks have empty task IDs."),
    "FDI.3023": (400, "One or more tasks are running."),
    "FDI.3026": (400, "Failed to manually start the task."),
    "FDI.3027": (400, "Failed to manually stop the task."),
    "FDI.3028": (400, "Failed to delete the task."),
    "FDI.3033": (400, "Invalid parameter [%s]."),
    "FDI.3035": (400, "Invalid SQL statement."),
    "FDI.3037": (400, "The parameter in mapping information is invalid or does not match the task."),
    "FDI.3039": (400, "The project ID is empty or does not match the project ID in the URL."),
    "FDI.3043": (400, "The data source IP address is not in the valid network segment."),
    "FDI.3083": (404, "One or more scheduled tasks are not configured with scheduled plans."),
    "FDI.3149": (400, "The task ID is empty."),
    "FDI.3150": (400, "The task list is empty."),
    "FDI.3180": (404, "This task is not in the project."),
}
"""Code -> HTTP status and standard text (contract/error-codes.csv)."""


class ServiceError(Exception):
    """A request that is refused. `code` and `status` are the API's, `message` is a sentence for the caller.

    `details` holds the single findings where there are several (a start that fails for three reasons); may be empty.
    """

    def __init__(self, code: str, status: int, message: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message
        self.details = details


def cut(text: str) -> str:
    """A text no longer than the API's messages may be."""
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 3] + "..."


def refusal(code: str, why: str = "", *, status: int | None = None, details: tuple[str, ...] = ()) -> ServiceError:
    """A refusal with the code's standard text followed by `why`; `status` where the place documents another one."""
    standard_status, text = CODES[code]
    return ServiceError(code, status or standard_status, cut(f"{text} {why}".strip()), details)


def invalid(parameter: str, why: str, *, status: int | None = None) -> ServiceError:
    """FDI.3033 for a named parameter: `Invalid parameter [name]: why`."""
    return ServiceError("FDI.3033", status or 400, cut(f"Invalid parameter [{parameter}]: {why}"))


def unknown_task() -> ServiceError:
    """404 for a task that the caller can't see, whether it exists elsewhere or not."""
    return refusal("FDI.3180")


def unknown_data_source(parameter: str = "datasource_id", *, status: int = 404) -> ServiceError:
    """A data source that the caller can't see: 404 in a path, 400 (give `status`) where a body or query names it."""
    return invalid(parameter, "there is no such data source in this instance.", status=status)
