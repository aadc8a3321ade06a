#!/bin/bash
# A search as a Slurm job that takes itself up again: when its time is over or it is preempted, it
# finishes what is in flight, goes back to the queue and is resumed where its journal ends.
#   sbatch docker/slurm.sh my-study/study.yaml runs/my-study
# One node: `workers: {count: 4, device: auto}` in the study. Several (sbatch --nodes=4): `workers:
# {backend: ray, address: auto, …}`, with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH in the environment.
#SBATCH --job-name=evomerge
#SBATCH --output=evomerge-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
#SBATCH --time=12:00:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
set -u

study=${1:?usage: sbatch slurm.sh STUDY RUN}
run=${2:?usage: sbatch slurm.sh STUDY RUN}
most_restarts=${MOST_RESTARTS:-50}
port=${RAY_PORT:-6379}

search=
asked=
end() { # ask once; a second time would stop at once
    if [ -n "$search" ] && [ -z "$asked" ]; then
        asked=yes
        kill -TERM "$search"
    fi
}
trap end USR1 TERM INT

if [ "${SLURM_JOB_NUM_NODES:-1}" -gt 1 ]; then
    ray start --head --port="$port" --include-dashboard=false --disable-usage-stats || exit 1
    srun --nodes="$((SLURM_JOB_NUM_NODES - 1))" --exclude="$(hostname -s)" --ntasks-per-node=1 \
        ray start --address="$(hostname -s):$port" --disable-usage-stats --block &
fi

evomerge run "$study" --out "$run" --or-resume &
search=$!
while kill -0 "$search" 2>/dev/null; do # a trapped signal ends `wait` early
    wait "$search"
done
wait "$search"
code=$?

case $code in
0) echo "slurm.sh: done" ;;
1) echo "slurm.sh: failed; the last lines above say why" ;;
2) echo "slurm.sh: the study or the machine is not as it should be; see above" ;;
*)
    # 130: interrupted and drained; above 128: killed, out of memory for one. Both resume.
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "$most_restarts" ]; then
        echo "slurm.sh: ended with $code after $most_restarts restarts; left as it is"
    else
        echo "slurm.sh: ended with $code; back to the queue"
        scontrol requeue "$SLURM_JOB_ID" && exit 0
        echo "slurm.sh: not requeued; continue with: sbatch slurm.sh $study $run"
    fi
    ;;
esac
exit "$code"
