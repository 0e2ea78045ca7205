#!/usr/bin/env bash
# Chromium and Prometheus from the distribution, for the tests that need them. Where they cannot be had, those tests are
# skipped and say so; this never fails and takes a few minutes at most.
set -u

packages=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || packages+=(chromium)
{ command -v promtool >/dev/null && command -v prometheus >/dev/null; } || packages+=(prometheus)
if [ ${#packages[@]} -eq 0 ]; then exit 0; fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed, their tests are skipped: ${packages[*]}"
  exit 0
fi

export DEBIAN_FRONTEND=noninteractive
# Prometheus is only started by tests: its package must start no service of its own here.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT
fi
quietly() { timeout "$1" "${@:2}" >/dev/null 2>&1; }
quietly 60 apt-get update
for package in "${packages[@]}"; do
  if quietly 150 apt-get install --yes --no-install-recommends "$package"; then
    echo "installed for the tests: $package"
  else
    echo "could not be installed, its tests are skipped: $package"
  fi
done
exit 0
