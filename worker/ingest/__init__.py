"""From records to points: batches are produced, claimed, embedded, written, settled."""
