# shellcheck shell=bash
# Reads long options into shell variables, as Kaldi's utils/parse_options.sh does, but a mistake always ends in exit 2.
#
#     help_message="Usage: run.sh [options] ..."
#     option_names="stage db_root"        # the variables that are options; their values so far are the defaults
#     stage=-1 db_root=""
#     option_aliases="n_jobs=nj"          # other names of options; may be left out
#     . parse_options.sh
#     parse_options "$@"
#
# `--db-root DIR`, `--db_root DIR` and `--db-root=DIR` are the same. An option whose default is an integer takes integers
# only, one whose default has a decimal point takes numbers, and one whose default is true or false takes these only.
# `--help` prints help_message and exits 0.

parse_options() {
    local argument name value default
    : "${help_message:?must be set before parse_options}" "${option_names:?must be set before parse_options}"
    while [ $# -gt 0 ]; do
        argument=$1
        shift
        case $argument in
            --help | -h)
                printf '%s\n' "$help_message"
                exit 0
                ;;
            --*=*)
                name=${argument%%=*}
                value=${argument#*=}
                _is_option "$name" || _wrong_usage "unknown option $name"
                ;;
            --*)
                name=$argument
                _is_option "$name" || _wrong_usage "unknown option $name"
                if [ $# -eq 0 ] || _is_option "$1"; then
                    _wrong_usage "option $name needs a value"
                fi
                value=$1
                shift
                ;;
            *) _wrong_usage "unexpected argument $argument" ;;
        esac
        argument=$name
        name=$(_variable_of "$name")
        default=${!name}
        if [[ $default =~ ^-?[0-9]+$ ]] && ! [[ $value =~ ^-?[0-9]+$ ]]; then
            _wrong_usage "option $argument needs a whole number, got '$value'"
        fi
        if [[ $default =~ ^[0-9]*\.[0-9]+$ ]] && ! [[ $value =~ ^([0-9]+\.?[0-9]*|\.[0-9]+)$ ]]; then
            _wrong_usage "option $argument needs a number, got '$value'"
        fi
        if [[ $default =~ ^(true|false)$ ]] && ! [[ $value =~ ^(true|false)$ ]]; then
            _wrong_usage "option $argument needs true or false, got '$value'"
        fi
        printf -v "$name" '%s' "$value"
    done
}

_variable_of() {
    local name=${1#--} alias
    name=${name//-/_}
    for alias in ${option_aliases:-}; do
        if [ "${alias%%=*}" = "$name" ]; then name=${alias#*=}; fi
    done
    printf '%s' "$name"
}

# Whether $1 is an option of this script: --name, with - or _ between its words.
_is_option() {
    [[ $1 =~ ^--[a-z][a-z0-9_-]*$ ]] && [[ " ${option_names//$'\n'/ } " == *" $(_variable_of "$1") "* ]]
}

_wrong_usage() {
    printf '%s: error: %s\n\n%s\n' "${0##*/}" "$1" "$help_message" >&2
    exit 2
}
