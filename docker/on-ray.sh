#!/bin/sh
# Join the Ray cluster at RAY_HEAD (host:port) as a node on which no worker runs, then be evomerge:
# a search is driven from a node of its cluster. `workers: {backend: ray}` finds it by itself.
set -eu
: "${RAY_HEAD:?set it to host:port of the cluster's head}"
ray start --address="$RAY_HEAD" --num-cpus=0 --num-gpus=0 --disable-usage-stats
unset RAY_ADDRESS
exec evomerge "$@"
