#!/usr/bin/env bash
# Builds a release into dist/: an archive for each target, the packages of the other languages, and SHA256SUMS over all.
# Who builds the same commit with the same Go, anywhere, gets the same archives and the same sums:
#
#   make release && (cd dist && sha256sum --check SHA256SUMS)
#
# The version is the tag of the commit; without a tag it says so. Needs GNU tar; npm for verify/js; Python's build,
# setuptools and wheel for verify/python (Debian: npm python3-build python3-setuptools python3-wheel).
#
#   RELEASE_TARGETS  which of them, default "linux/amd64 linux/arm64 darwin/amd64 darwin/arm64"
#   RELEASE_DIST     where to, default dist
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
targets=${RELEASE_TARGETS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}
mkdir -p "${RELEASE_DIST:=dist}"
dist=$(cd "$RELEASE_DIST" && pwd)
[[ -z $(ls -A "$dist") ]] || { echo "release: $dist is not empty" >&2; exit 1; }
tar --version 2>/dev/null | grep -q 'GNU tar' || { echo "release: this takes GNU tar" >&2; exit 1; }

version=$(git describe --tags --always --dirty)
commit=$(git rev-parse --short=12 HEAD)
tag=$(git describe --tags --exact-match 2>/dev/null || true)
[[ $version == "$tag" ]] || tag= # also when something is not committed
if [[ -n $tag && ! $tag =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]]; then
	echo "release: the tag $tag is no version like v1.2.3" >&2
	exit 1
fi
npm_version=0.0.0-dev.g$commit python_version=0.0.0.dev0+g$commit
[[ -z $tag ]] || npm_version=${tag#v} python_version=${tag#v}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for target in $targets; do
	name=curfew-$version-${target/\//-}
	mkdir "$work/$name"
	# Everything that could make it another binary is named, whatever the environment says.
	GOOS=${target%/*} GOARCH=${target#*/} CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 GOFLAGS= GOEXPERIMENT= \
		go build -tags nomsgpack -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$version" -o "$work/$name/curfew" ./cmd/curfew
	cp CHANGELOG.md README.md "$work/$name/"
	git archive HEAD deploy | tar -x -C "$work/$name" --exclude='*_test.go' --exclude='deploy/check'
	chmod -R u=rwX,go=rX "$work/$name"
	tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=ustar -C "$work" -c "$name" |
		gzip -9n > "$dist/$name.tar.gz"
done

if [[ -f verify/js/package.json ]]; then
	git archive HEAD verify/js | tar -x -C "$work"
	(
		cd "$work/verify/js"
		npm version --no-git-tag-version --allow-same-version "$npm_version" >/dev/null
		npm pack --silent --ignore-scripts --pack-destination "$dist"
	)
fi

if [[ -f verify/python/pyproject.toml ]]; then
	python=${PYTHON:-python3}
	"$python" -c 'import build, setuptools, wheel' 2>/dev/null || python=/usr/bin/python3
	git archive HEAD verify/python | tar -x -C "$work"
	sed -i "s/^version = .*/version = \"$python_version\"/" "$work/verify/python/pyproject.toml"
	(cd "$work/verify/python" && PYTHONWARNINGS=ignore "$python" -m build --no-isolation --outdir "$dist" . >/dev/null)
fi

(cd "$dist" && sha256sum -- * > "$work/SHA256SUMS" && cp "$work/SHA256SUMS" .)
cat "$dist/SHA256SUMS"
