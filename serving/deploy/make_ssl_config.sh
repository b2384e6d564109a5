#!/bin/bash
# Writes an SSLConfig for --ssl_config_file from PEM files to standard output.
#
#   bash make_ssl_config.sh server.key server.crt          > ssl.config   TLS
#   bash make_ssl_config.sh server.key server.crt ca.crt   > ssl.config   mutual TLS
set -euo pipefail
umask 077

field() {
  [[ -s "$2" ]] || { echo "$2 is missing or empty" >&2; exit 1; }
  printf '%s:\n' "$1"
  # PEM has neither quotes nor backslashes, so that only line ends need an escape.
  awk '{ sub(/\r$/, ""); printf "  \"%s\\n\"\n", $0 }' "$2"
}

[[ $# == 2 || $# == 3 ]] || { echo "usage: $0 KEY CERTIFICATE [AUTHORITY]" >&2; exit 2; }
field server_key "$1"
field server_cert "$2"
if [[ $# == 3 ]]; then
  field custom_ca "$3"
  echo "client_verify: true"
fi
