#!/bin/sh
# Installs what the bench runs beside the service: Debian's packages, and the npm packages of bench/.
set -eu
cd "$(dirname "$0")"

packages=''
for package in postgresql-doc-15 openjdk-17-doc python3-scrapy python3-asyncpg; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || packages="$packages $package"
done

if [ -n "$packages" ]; then
  if [ "$(id -u)" = 0 ]; then
    as_root=''
  elif command -v sudo >/dev/null; then
    as_root='sudo'
  else
    echo "setup.sh: run this as root, or install by hand:$packages" >&2
    exit 1
  fi
  $as_root apt-get update -qq
  # shellcheck disable=SC2086  # a list of words
  $as_root apt-get install -y -qq --no-install-recommends $packages
fi

npm ci --no-audit --no-fund
