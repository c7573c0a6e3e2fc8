"""Sends what Postgres committed for Kafka: rows of `ops.outbox`, each at least once.

Add here what concerns delivery. Avoid writing outbox rows: that belongs to the transaction whose
message it is. A crash between delivery and its mark sends a message twice; a dead letter's headers
(source topic id, partition, offset) tell such a repetition.
"""

import psycopg

from orchestration.ingest.postgres_sink import headers_from_json
from orchestration.ingest.producer import DeliveryError, Headers, MessageProducer

MESSAGES_PER_ROUND = 200


def relay_outbox(database_url: str, producer: MessageProducer) -> int:
    """Send everything that waits, in order.

    Two relays at once share the work: each takes rows that the other has not locked.

    Args:
        database_url: `postgresql://…` of the outbox.
        producer: Idempotent producer of the cluster.

    Returns:
        Messages that were sent and marked.

    Raises:
        DeliveryError: Kafka did not take messages; they wait for the next call.
    """
    sent = 0
    with psycopg.connect(database_url) as connection:
        while True:
            rows = connection.execute(
                """
                select outbox_id, topic, message_key, payload, headers
                from ops.outbox where sent_at is null
                order by outbox_id limit %s for update skip locked
                """,
                (MESSAGES_PER_ROUND,),
            ).fetchall()
            if not rows:
                return sent
            for _, topic, key, payload, headers in rows:
                kept: Headers = list(headers_from_json(headers))
                _send(producer, topic, key, payload, kept)
            producer.flush()
            connection.execute(
                # The bytes have left; a second copy of them would only have to be guarded and erased.
                "update ops.outbox set sent_at = now(), payload = null where outbox_id = any(%s)",
                ([row[0] for row in rows],),
            )
            connection.commit()
            sent += len(rows)


def _send(
    producer: MessageProducer, topic: str, key: bytes | None, payload: bytes | None, headers: Headers
) -> None:
    try:
        producer.send(topic, key, payload, headers)
    except DeliveryError:
        # A message near the broker's limit grew beyond it by the headers with the reason. It must not hold
        # up the others: its place leaves without its bytes, which Postgres keeps.
        producer.send(topic, key, None, [*headers, ("payload", b"too large; kept in ops.dead_letters")])
