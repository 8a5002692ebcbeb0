#!/usr/bin/env bash
# Bring Debian's promtool, which tells what the alert rules say; nothing is installed.
set -euo pipefail
target=$1
command -v dpkg >/dev/null || { echo "promtool comes from Debian's package prometheus" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
apt-get download --quiet prometheus
dpkg --extract prometheus_*.deb .
mkdir -p "$(dirname "$OLDPWD/$target")"
install -m 755 usr/bin/promtool "$OLDPWD/$target"
