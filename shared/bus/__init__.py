"""The bus: what is declared on RabbitMQ, how messages are published, asked, consumed and followed."""
