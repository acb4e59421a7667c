#!/bin/bash
# Four machines of eight GPUs by SLURM: sbatch slurm.sh
#
# Five minutes before its time is over the run is told, saves, and queues itself again.
#SBATCH --job-name=swav
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --requeue
#SBATCH --signal=USR1@300
#SBATCH --open-mode=append
srun swav pretrain in1k-200e-bs4096 --data /data/imagenet/train --out /shared/runs/in1k-200e
code=$?
# 138: the run was told that its time is nearly over, and has saved. Queue it again; it goes on by itself.
[ $code -eq 138 ] && scontrol requeue "$SLURM_JOB_ID"
exit $code
