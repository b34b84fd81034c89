#!/usr/bin/env bash
# Installs the programs that bench/offline.py and bench/list_pulls.py run beside Molecatcher. What cannot be had is named, and skipped there.
set -euo pipefail
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
venv=${1:-bench/.nfstream}

install() {
	local wanted=() name
	for name in "${@:2}"; do
		dpkg-query -Wf '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || wanted+=("$name")
	done
	[ ${#wanted[@]} = 0 ] || $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends ${1:+-t "$1"} "${wanted[@]}" >/dev/null
}

# Suricata is in the backports: from the mirror that the system already uses.
add_backports() {
	local codename uri keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
	backports=$codename-backports
	[ -z "$(apt-get indextargets --format '$(RELEASE)' | grep -x "$backports" | head -1)" ] || return 0
	uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' |
		awk -v suite="$codename" '$1 == suite && $2 == "main" { print $3; exit }')
	[ -n "$uri" ] || return 1
	[ -e "$keyring" ] && uri="[signed-by=$keyring] $uri"
	echo "deb $uri $backports main" | $sudo tee /etc/apt/sources.list.d/molecatcher-bench-backports.list >/dev/null
}

skipped() { echo "skipped: $1 cannot be installed here" >&2; }

$sudo apt-get update -q >/dev/null
install "" tcpdump tshark libndpi-bin || skipped "tcpdump, tshark or ndpiReader"
{ add_backports && $sudo apt-get update -q >/dev/null && install "$backports" suricata; } || skipped suricata
install "" nginx-light || skipped nginx
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import nfstream' 2>/dev/null || "$venv/bin/pip" install --quiet --disable-pip-version-check nfstream || skipped nfstream
