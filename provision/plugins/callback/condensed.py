"""Ansible's output condensed: a line per role, what changed, what failed and why; the rest goes to the log."""

from __future__ import annotations

import json
import sys
import time

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: condensed
type: stdout
short_description: one line per role, changes and failures; everything else in the log
description:
  - On a terminal the current step is shown on one line that is written over.
  - Elsewhere there are no control codes; a line is written when a role ends.
options: {}
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "condensed"

    def __init__(self):
        super().__init__()
        self._terminal = sys.stdout.isatty()
        self._section = ""
        self._section_began = time.monotonic()
        self._began = time.monotonic()
        self._changed = 0
        self._steps = 0
        self._hosts = set()

    # -- sections: a play, or a role within it ------------------------------------------------------------------

    def v2_playbook_on_play_start(self, play):
        self._open(play.get_name().strip())

    def v2_playbook_on_task_start(self, task, is_conditional):
        role = task._role.get_name() if task._role else None
        if role and role != self._section:
            self._open(role)
        self._steps += 1
        self._log(f"STEP {task.get_name()}")
        if self._terminal:
            self._overwrite(f"  {self._section}: {task.get_name()}")

    def v2_playbook_on_handler_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def _open(self, name):
        self._close()
        self._section, self._section_began = name, time.monotonic()
        self._changed, self._hosts, self._steps = 0, set(), 0

    def _close(self):
        if not self._steps:
            return
        seconds = time.monotonic() - self._section_began
        changed = f"{self._changed} changed" if self._changed else "no change"
        hosts = f"{len(self._hosts)} host{'' if len(self._hosts) == 1 else 's'}"
        self._say(f"  {self._section:<24} {changed:<12} {hosts:<9} {seconds:5.1f} s")

    # -- results ------------------------------------------------------------------------------------------------

    def v2_runner_on_ok(self, result):
        self._record(result, "changed" if result.result.get("changed") else "ok")
        if result.result.get("changed"):
            self._changed += 1
        if result.task.action in ("ansible.builtin.debug", "debug") and not result.result.get("_ansible_no_log"):
            said = result.result.get("msg", "")
            for line in said if isinstance(said, list) else [said]:
                self._say(f"  {result.host.get_name()}: {line}")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._record(result, "failed")
        self._say(f"  FAILED {result.host.get_name()}: {result.task.get_name()}")
        for line in self._reason(result.result).splitlines():
            self._say(f"         {line}")

    def v2_runner_on_unreachable(self, result):
        self._record(result, "unreachable")
        self._say(f"  UNREACHABLE {result.host.get_name()}: {result.result.get('msg', '').strip()}")

    def v2_runner_on_skipped(self, result):
        self._record(result, "skipped")

    def v2_runner_item_on_failed(self, result):
        self._say(f"  FAILED {result.host.get_name()}: {result.task.get_name()}: {self._reason(result.result)}")

    def v2_on_file_diff(self, result):
        diff = result.result.get("diff")
        if not diff or not (result.result.get("changed")):
            return
        text = self._get_diff(diff)
        if text:
            self._say(f"  {result.host.get_name()}: {result.task.get_name()}")
            self._say(text.rstrip())

    def v2_playbook_on_stats(self, stats):
        self._close()
        for host in sorted(stats.processed):
            summary = stats.summarize(host)
            parts = [f"{summary['ok']} ok", f"{summary['changed']} changed"]
            parts += [f"{summary[key]} {key}" for key in ("failures", "unreachable") if summary[key]]
            self._say(f"{host}: {', '.join(parts)}")
        self._say(f"Done in {time.monotonic() - self._began:.1f} s")

    @staticmethod
    def _reason(result):
        """The message, then what the program itself said, if that is more."""
        parts = [result.get("msg") or "no message"]
        for key in ("stderr", "module_stderr", "stdout", "exception"):
            text = (result.get(key) or "").strip()
            if text and text not in parts[0]:
                parts.append("\n".join(text.splitlines()[-15:]))
                break
        return "\n".join(str(part) for part in parts)

    # -- writing ------------------------------------------------------------------------------------------------

    def _record(self, result, outcome):
        self._hosts.add(result.host.get_name())
        self._log(f"{outcome.upper()} {result.host.get_name()}: {json.dumps(self._plain(result), default=str)}")

    def _plain(self, result):
        return json.loads(self._dump_results(result.result))

    def _log(self, text):
        if constants.DEFAULT_LOG_PATH:
            self._display.display(text, log_only=True)

    def _say(self, text):
        if self._terminal:
            sys.stdout.write("\r\033[K")
        self._display.display(text)

    @staticmethod
    def _overwrite(text):
        sys.stdout.write(f"\r\033[K{text[:100]}")
        sys.stdout.flush()
