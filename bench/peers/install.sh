#!/usr/bin/env bash
# Installs the programs that bench/offline.py and bench/list_pulls.py run beside Molecatcher. What cannot be had is named, and skipped there.
set -euo pipefail
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
venv=${1:-bench/.nfstream}

install() {
	local wanted=() name
	for name in "$@"; do
		dpkg-query -Wf '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || wanted+=("$name")
	done
	[ ${#wanted[@]} = 0 ] || $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${wanted[@]}" >/dev/null
}

skipped() { echo "skipped: $1 cannot be installed here" >&2; }

$sudo apt-get update -q >/dev/null
install tcpdump tshark libndpi-bin || skipped "tcpdump, tshark or ndpiReader"
"$(dirname "$0")/suricata.sh" || skipped suricata
install nginx-light || skipped nginx
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import nfstream' 2>/dev/null || "$venv/bin/pip" install --quiet --disable-pip-version-check nfstream || skipped nfstream
