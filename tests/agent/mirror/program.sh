# What `systemctl` and `rota-release` do in these tests: write down what they were asked, and die or fail when told to.
name=$(basename "$0")
echo "$name $*" >>"$HERE/log"
if [ -e "$HERE/kill" ] && [ "$(cat "$HERE/kill")" = "$name $1" ]; then
    rm "$HERE/kill"
    kill -9 "$PPID"
    exit 0
fi
if [ -e "$HERE/fail" ] && [ "$(cat "$HERE/fail")" = "$name $1" ]; then
    rm "$HERE/fail"
    echo "no such luck" >&2
    exit 1
fi
if [ "$name" = rota-release ]; then
    ln -sfn "releases/$3" "$HERE/../staging/opt/current"
fi
