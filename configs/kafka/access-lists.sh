#!/bin/sh
# Gives the users of a plant's Kafka cluster the rights of their work and no more. docs/kafka.md says who may do what.
#
#   access-lists.sh BOOTSTRAP [OPTION OF kafka-acls.sh...]
#   access-lists.sh kafka1.plant.example:9093 --command-config admin.properties
#
# The cluster must refuse what no list allows (authorizer.class.name is set, allow.everyone.if.no.acl.found is not), and
# no client but the administrator may be in super.users. Set the names below, here or in the environment.
set -eu

AGENT=${AGENT:-inspector}                # kafka.username of the agents
GROUP=${GROUP:-inspector}                # kafka.group
CAMERAS=${CAMERAS:-camera-cam1}          # users of cameras and grabbers that share the topic of frames, with spaces between
FRAMES=${FRAMES:-frames}                 # kafka.topics
OWN_FRAMES=${OWN_FRAMES:-}               # cameras with a topic of their own: user=topic, with spaces between
VERDICTS=${VERDICTS:-verdicts}           # kafka.verdict_topic
DEAD_LETTERS=${DEAD_LETTERS:-dead-letters} # kafka.dead_letter_topic
READERS=${READERS:-reports}              # users that read verdicts, in groups that begin with their own name
KAFKA_ACLS=${KAFKA_ACLS:-kafka-acls.sh}

if [ $# -lt 1 ]; then
    echo "usage: $0 BOOTSTRAP [OPTION OF kafka-acls.sh...]" >&2
    exit 2
fi
bootstrap=$1
shift
connection=$*

# allow USER WHAT...: adds to the lists; an entry that is there already stays as it is.
allow() {
    user=$1
    shift
    # shellcheck disable=SC2086 # the options of the connection are words
    "$KAFKA_ACLS" --bootstrap-server "$bootstrap" $connection --add --force --allow-principal "User:$user" "$@"
}

# Agents read frames and write records. DescribeConfigs lets `inspector doctor` compare limits with the largest frame.
topics="--topic $FRAMES"
for pair in $OWN_FRAMES; do topics="$topics --topic ${pair#*=}"; done
# shellcheck disable=SC2086 # several topics
allow "$AGENT" $topics --operation Read --operation Describe --operation DescribeConfigs
allow "$AGENT" --group "$GROUP" --operation Read --operation Describe
allow "$AGENT" --topic "$VERDICTS" --topic "$DEAD_LETTERS" \
    --operation Write --operation Describe --operation DescribeConfigs
allow "$AGENT" --cluster --operation DescribeConfigs

# A camera writes its frames and reads nothing. Whoever may write to a shared topic can write as any of its cameras; a
# topic of its own keeps a camera to itself.
for camera in $CAMERAS; do
    allow "$camera" --topic "$FRAMES" --operation Write --operation Describe
done
for pair in $OWN_FRAMES; do
    allow "${pair%%=*}" --topic "${pair#*=}" --operation Write --operation Describe
done

# Reports read verdicts.
for reader in $READERS; do
    allow "$reader" --topic "$VERDICTS" --operation Read --operation Describe
    allow "$reader" --group "$reader" --resource-pattern-type prefixed --operation Read --operation Describe
done
