#!/bin/bash
# Succeeds if every model of a config file has an AVAILABLE version: GetModelStatus over REST.
#
#   ready.sh /config/models.config
#
# The HTTP code alone does not tell: it is 200 for a model that loads or that failed to
# (get_model_status_impl.cc answers OK for any state). TF-Serving's image has no curl, hence
# bash's own sockets.
set -o pipefail
port=${REST_PORT:-8501}

names=$(sed 's/#.*//' "$1" | grep -oE '\bname:[[:space:]]*"[^"]+"' | cut -d '"' -f 2) || {
  echo "no model is listed in $1" >&2
  exit 2
}
for name in $names; do
  # Where nothing listens, the failed redirection ends the script with an error.
  exec 3<> "/dev/tcp/127.0.0.1/$port" || exit 1
  printf 'GET /v1/models/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$name" >&3
  answer=$(cat <&3)
  exec 3>&-
  if ! [[ "$answer" =~ \"state\":[[:space:]]*\"AVAILABLE\" ]]; then
    echo "$name has no version that is AVAILABLE" >&2
    exit 1
  fi
done
