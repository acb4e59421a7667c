#!/usr/bin/env bash
# Whole CIFAR-10 on one GPU within eight minutes, with nothing else on the machine: recipe `cifar10` for as many epochs as
# fit, k-NN of the last epoch, linear by the cached grid, groups against the classes.
#
#     benchmarks/quality/whole.sh DIR [EPOCHS]
#
# DIR holds cifar10_train.tar and cifar10_test.tar, a folder a class. EPOCHS is 60 where nothing is said: at 15,000 pictures
# a second they take 200 seconds. What is found joins benchmarks/quality/table.csv.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:?DIR with cifar10_train.tar and cifar10_test.tar}
epochs=${2:-60}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python benchmarks/quality/run.py whole --data "$data" --scratch "$scratch" --seeds 1 --set "training.epochs=$epochs"
run=$(ls -d "$scratch"/run-*/run)
python -m swav_cli clusters "$scratch/cifar10_test" --model "$run" --groups 10 --out "$scratch/clusters" --json
