# shellcheck shell=bash
# Turns `cmd_backend` into train_cmd (work on CPUs), cuda_cmd (training) and decode_cmd; sourced by a recipe's cmd.sh.
# Each is called as `$cmd [--gpu N] [--num-threads N] [JOB=1:N] LOG COMMAND...`, the contract of Kaldi's run.pl.
case ${cmd_backend:=local} in
    local) train_cmd=$AUDIOVQ_ROOT/recipes/run_local.sh ;;
    slurm) train_cmd=$AUDIOVQ_ROOT/recipes/run_slurm.sh ;;
    run.pl | queue.pl | slurm.pl | ssh.pl)
        parallel=${kaldi_parallel:-${KALDI_ROOT:-}/egs/wsj/s5/utils/parallel}
        if [ ! -x "$parallel/$cmd_backend" ]; then
            echo "cmd.sh: error: no $cmd_backend in $parallel; set kaldi_parallel to the folder that holds it" >&2
            exit 1
        fi
        train_cmd=$parallel/$cmd_backend
        # its --config is a recipe's own description of the cluster, if there is one
        if [ -f "conf/${cmd_backend%.pl}.conf" ]; then train_cmd+=" --config conf/${cmd_backend%.pl}.conf"; fi
        ;;
    *)
        echo "cmd.sh: error: cmd_backend is $cmd_backend; use local, slurm, run.pl, queue.pl, slurm.pl or ssh.pl" >&2
        exit 1
        ;;
esac
export cmd_backend train_cmd
export cuda_cmd=$train_cmd decode_cmd=$train_cmd
