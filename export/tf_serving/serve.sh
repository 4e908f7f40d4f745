#!/bin/sh
# TensorFlow Serving with this folder's configuration: what the container runs, and what runs without one.
#
#   sh export/tf_serving/serve.sh exported                                  # the folder of versions
#   MODELS=models_canary.config sh export/tf_serving/serve.sh exported      # two versions, by label
#   sh export/tf_serving/serve.sh exported --rest_api_enable_cors_support   # with further flags of TensorFlow Serving
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$(cd "${1:?the folder that export.saved_model wrote}" && pwd)
shift
models=$here/${MODELS:-models.config}
if [ "$folder" != /models/cgc ]; then  # the folder that the configuration names, as the container has it
  copy=$(mktemp)
  sed "s#/models/cgc#$folder#" "$models" > "$copy"
  models=$copy
fi
if ! command -v tensorflow_model_server > /dev/null; then
  echo "error: tensorflow_model_server is not installed; use the container, or python -m export.server" >&2
  exit 2
fi
exec tensorflow_model_server \
  --port="${GRPC_PORT:-8500}" --rest_api_port="${REST_PORT:-8501}" --rest_api_timeout_in_ms=30000 \
  --model_config_file="$models" --model_config_file_poll_wait_seconds=30 \
  --allow_version_labels_for_unavailable_models=true \
  --enable_batching=true --batching_parameters_file="$here/batching.config" \
  --monitoring_config_file="$here/monitoring.config" "$@"
