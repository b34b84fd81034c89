#!/usr/bin/env bash
# Installs Suricata: where the release has none, from its backports, by the mirror that the system already uses.
set -euo pipefail
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" suricata >/dev/null; }

add_backports() {
	local uri
	[ -z "$(apt-get indextargets --format '$(RELEASE)' | grep -x "$1-backports" | head -1)" ] || return 0
	uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' |
		awk -v suite="$1" '$1 == suite && $2 == "main" { print $3; exit }')
	[ -n "$uri" ] || return 1
	[ -e "$keyring" ] && uri="[signed-by=$keyring] $uri"
	echo "deb $uri $1-backports main" | $sudo tee /etc/apt/sources.list.d/molecatcher-backports.list >/dev/null
	$sudo apt-get update -q >/dev/null
}

dpkg-query -Wf '${Status}' suricata 2>/dev/null | grep -q 'ok installed' && exit
install 2>/dev/null && exit
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
add_backports "$codename" && install -t "$codename-backports"
