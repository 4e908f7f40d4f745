#!/bin/sh
# Trains on the nodes of a Slurm job, one worker a node. The flags are train.py's, --workdir being on a shared disk:
#   sbatch cluster/slurm.sh --flagfile=configs/imagenet.flags --data_dir=DIR --workdir=/shared/runs/A
# A job that comes to its time limit saves first. Then, and when a worker was lost, it is queued again, and goes on.
#SBATCH --job-name=cgc
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
srun python train.py --strategy=multiworker "$@"
status=$?
# 75: saved, or another worker is gone. Above 128: a worker was killed.
if [ "$status" -eq 75 ] || [ "$status" -gt 128 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
