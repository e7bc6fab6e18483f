"""Programs on another machine: a server that speaks SandboxFusion's protocol (github.com/bytedance/SandboxFusion).

`POST /run_code` takes a program with its whole input and returns its whole output: there is no dialogue. So one is
played anew for each answer: the same helper hears all lines said so far, and the next line of what it says counts.
Programs of a test are thus run once for every call (several calls that are said together: once).
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import NoReturn

from goldpanner.verify.sandbox.running import Limits, Stopped, ending

TRIES = 3


class RemoteSandbox:
    """A program on a server, in the place of `Running`."""

    def __init__(self, url: str, helper: str, header: Mapping[str, object], limits: Limits) -> None:
        self.url, self.helper, self.limits = url.rstrip("/"), helper, limits
        self.error = b""
        self._script = header["mode"] == "script"
        self._header, self._lines = json.dumps(header), ""
        self._heard: list[bytes] = []
        self._taken = 0
        self._fresh = False
        self._late = False
        self._status = 0

    def __enter__(self) -> "RemoteSandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is left behind here."""

    def send(self, data: bytes) -> None:
        """Say lines more."""
        self._lines += data.decode()
        self._fresh = False

    def line(self) -> bytes:
        """Return the next line that it says. Raises Stopped."""
        if self._taken == len(self._heard):
            self._play()
        if self._taken == len(self._heard):
            self._in_time()
            raise Stopped("ended", self.ending(self._status))
        self._taken += 1
        return self._heard[self._taken - 1]

    def rest(self) -> tuple[bytes, int]:
        """Return the rest of what it says, and its exit status. Raises Stopped."""
        self._play()
        self._in_time()
        return b"\n".join(self._heard[self._taken :]), self._status

    def ending(self, status: int) -> str:
        """Return in words how it came to its end."""
        return ending(status, self.error, self.limits)

    def _play(self) -> None:
        """Run the helper on everything said so far."""
        if self._fresh:
            return
        request = {
            "code": self.helper,
            "language": "python",
            "stdin": f"{len(self._header):012d}{self._header}{self._lines}",
            "compile_timeout": 10,
            "run_timeout": self.limits.clock,
            "memory_limit_MB": -1,
        }
        result = self._asked(request)
        out = str(result.get("stdout") or "").encode("utf-8", "surrogatepass")
        self.error = str(result.get("stderr") or "").encode("utf-8", "surrogatepass")
        if len(out) + len(self.error) > self.limits.output_kb << 10:
            raise Stopped("output", f"more than {self.limits.output_kb} kB of output")
        self._late = result.get("status") == "TimeLimitExceeded"
        code = result.get("return_code")
        self._status = code if isinstance(code, int) and code >= 0 else 128 - (code if isinstance(code, int) else 0)
        self._heard, self._fresh = out.split(b"\n"), True
        if not self._script and self._heard[-1:] == [b""]:
            self._heard.pop()

    def _in_time(self) -> None:
        if self._late:
            raise Stopped("time", f"not finished after {self.limits.clock:g} s by the server's clock")

    def _asked(self, request: Mapping[str, object]) -> dict[str, object]:
        """Return what came of the run. Raises Stopped where the server fails."""
        data = json.dumps(request).encode()
        why = ""
        for _ in range(TRIES):
            call = urllib.request.Request(f"{self.url}/run_code", data, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(call, timeout=self.limits.clock + 30) as response:
                    reply = json.loads(response.read(64 << 20))
            except (OSError, ValueError, urllib.error.URLError) as error:
                why = str(error)
                continue
            if not isinstance(reply, dict) or reply.get("status") == "SandboxError":
                why = str(reply.get("message") if isinstance(reply, dict) else reply)
                continue
            result = reply.get("run_result")
            if isinstance(result, dict) and result.get("status") in ("Finished", "TimeLimitExceeded"):
                return result
            why = f"its answer has no run_result that finished: {str(reply)[:120]}"
        _fail(f"the sandbox's server {self.url} failed {TRIES} times: {why[:200]}")


def _fail(why: str) -> NoReturn:
    raise Stopped("failed", why)
