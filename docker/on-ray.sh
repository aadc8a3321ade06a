#!/bin/bash
# Join the Ray cluster at RAY_HEAD (host:port) as a node on which no worker runs, then be evomerge:
# a search is driven from a node of its cluster. `workers: {backend: ray}` finds it by itself.
# Where no scheduler reads exit codes, RESTARTS=5 starts evomerge again when it was killed, out of
# memory for one, up to five times; never when it has failed (1), or what it was given is wrong (2).
set -u
: "${RAY_HEAD:?set it to host:port of the head of the cluster}"

search=
asked=
end() {
    asked=yes
    if [ -n "$search" ]; then
        kill -TERM "$search"
    fi
}
trap end TERM INT

ray start --address="$RAY_HEAD" --num-cpus=0 --num-gpus=0 --disable-usage-stats || exit 75 # again
unset RAY_ADDRESS
restarts=0
while [ -z "$asked" ]; do
    evomerge "$@" &
    search=$!
    while kill -0 "$search" 2>/dev/null; do # a trapped signal ends `wait` early
        wait "$search"
    done
    wait "$search"
    code=$?
    case $code in
    0 | 1 | 2) exit "$code" ;;
    esac
    if [ -n "$asked" ] || [ "$restarts" -ge "${RESTARTS:-0}" ]; then
        exit "$code"
    fi
    restarts=$((restarts + 1))
    echo "on-ray: evomerge ended with $code; started again, $restarts of $RESTARTS"
done
exit 130 # asked to stop before it began
