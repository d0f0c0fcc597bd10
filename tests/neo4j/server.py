"""Runs a command beside a real Neo4j server and fails when none can be had.

    python tests/neo4j/server.py [COMMAND ...]      default: pytest -m neo4j

Uses the server that CLARIFY_TEST_NEO4J_URL names (with CLARIFY_TEST_NEO4J_USER, CLARIFY_TEST_NEO4J_PASSWORD,
CLARIFY_TEST_NEO4J_DATABASE). Otherwise it fetches Neo4j Community with Maven into `.neo4j/` (once, 116 MB),
starts it with authentication on a free port of 127.0.0.1, stops it afterwards. Needs `mvn` (first time) and
Java 17 or newer. The command sees CLARIFY_TEST_NEO4J=bolt://... and the variables above; tests that need a
server then must run.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
JARS = ROOT / ".neo4j" / "lib-5.26.21"
START_TIMEOUT_S = 900  # 4 s on an idle machine; minutes beside a training
FETCH_TIMEOUT_S = 900
COMMAND_TIMEOUT_S = 1800
OPENS = ("java.base/java.nio", "java.base/java.io", "java.base/sun.nio.ch")
CONFIG = """server.default_listen_address=127.0.0.1
server.bolt.listen_address=127.0.0.1:{port}
server.http.enabled=false
server.https.enabled=false
dbms.usage_report.enabled=false
server.memory.pagecache.size=128m
db.memory.transaction.max=256m
"""


class NoServer(SystemExit):
    """No server can be had: exit status 1 with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Neo4j test server: {reason}")


def fetch() -> None:
    """Fetches the server's jars once."""
    done = JARS / ".complete"
    if done.is_file():
        return
    if not shutil.which("mvn"):
        raise NoServer("`mvn` is not on PATH; install Maven or set CLARIFY_TEST_NEO4J_URL.")
    print("fetching Neo4j Community 5.26.21 with Maven (116 MB, once)", file=sys.stderr, flush=True)
    command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    options = ["-DincludeScope=runtime", f"-DoutputDirectory={JARS}"]
    if subprocess.run(command + options, timeout=FETCH_TIMEOUT_S, check=False).returncode:
        raise NoServer("Maven could not fetch org.neo4j:neo4j; see its message above.")
    done.touch()


class Server:
    """One server in a home of its own, which can be stopped, frozen and started again on the same port."""

    def __init__(self, home: Path) -> None:
        fetch()
        java = shutil.which("java")
        if not java:
            raise NoServer("`java` is not on PATH; install Java 17 or newer or set CLARIFY_TEST_NEO4J_URL.")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.password = "neo4j"
        for name in "conf data logs run plugins import licenses lib".split():
            (home / name).mkdir()
        opens = [f"--add-opens={name}=ALL-UNNAMED" for name in OPENS]
        self._command = [java, "-Xmx768m", *opens, "-cp", f"{JARS}/*"]
        self._command += [
            "org.neo4j.server.CommunityEntryPoint", f"--home-dir={home}", f"--config-dir={home}/conf"
        ]  # fmt: skip

    @property
    def url(self) -> str:
        """Where Bolt answers."""
        return f"bolt://127.0.0.1:{self.port}"

    def start(self, *settings: str) -> None:
        """Starts it, with more or other lines of neo4j.conf, and waits until it answers."""
        lines = [*CONFIG.format(port=self.port).splitlines(), *settings]
        conf = "".join(f"{line}\n" for line in {line.partition("=")[0]: line for line in lines}.values())
        (self.home / "conf" / "neo4j.conf").write_text(conf, encoding="utf-8")
        with (self.home / "console.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, cwd=self.home
            )
        self.password = log_in(self.process, self.port, self.home, self.password)

    def stop(self) -> None:
        """Stops it and waits until it has ended."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None


@contextmanager
def started() -> Iterator[dict[str, str]]:
    """Starts a server in a temporary home, yields its address and login, stops it."""
    with tempfile.TemporaryDirectory(prefix="clarify-neo4j-") as folder:
        server = Server(Path(folder))
        try:
            server.start()
            yield {
                "CLARIFY_TEST_NEO4J_URL": server.url,
                "CLARIFY_TEST_NEO4J_USER": "neo4j",
                "CLARIFY_TEST_NEO4J_PASSWORD": server.password,
                "CLARIFY_TEST_NEO4J_DATABASE": "neo4j",
            }
        finally:
            server.stop()


def log_in(server: subprocess.Popen[bytes], port: int, home: Path, known: str) -> str:
    """Waits until Bolt answers, and returns the password: the first login must change it."""
    from neo4j import GraphDatabase
    from neo4j.exceptions import AuthError, DriverError, Neo4jError

    password = known if known != "neo4j" else secrets.token_urlsafe(16)
    deadline = time.monotonic() + START_TIMEOUT_S
    problem: Exception | None = None
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            with GraphDatabase.driver(f"bolt://127.0.0.1:{port}", auth=("neo4j", known)) as driver:
                if known == "neo4j":
                    with driver.session(database="system") as session:
                        session.run(
                            "ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO $new", new=password
                        ).consume()
                else:
                    driver.execute_query("RETURN 1", database_="neo4j")
            return password
        except (AuthError, DriverError, Neo4jError, OSError) as error:
            problem = error
            time.sleep(0.5)
    logs = [path for path in (home / "console.log", home / "logs" / "neo4j.log") if path.is_file()]
    tail = "\n".join(path.read_text(errors="replace")[-1500:] for path in logs)
    raise NoServer(f"it did not answer within {START_TIMEOUT_S} s ({problem}).\n{tail}")


def run(command: list[str], server: dict[str, str]) -> int:
    """Runs a command with the server's address in its environment."""
    env = {**os.environ, **server, "CLARIFY_TEST_NEO4J": server["CLARIFY_TEST_NEO4J_URL"]}
    return subprocess.run(command, env=env, cwd=ROOT, timeout=COMMAND_TIMEOUT_S, check=False).returncode


def main(arguments: list[str]) -> int:
    """Runs the command line."""
    command = arguments or [sys.executable, "-m", "pytest", "-m", "neo4j"]
    if os.environ.get("CLARIFY_TEST_NEO4J_URL"):
        return run(command, {"CLARIFY_TEST_NEO4J_URL": os.environ["CLARIFY_TEST_NEO4J_URL"]})
    with started() as server:
        return run(command, server)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
