/* One lane of a stream, from the log to the items, checked by spin: what comes twice, late or not at all.
 *
 * Change n of the log sets item n % 2 to n, if it is one of this lane: the first is, and of the others spin tries every
 * choice. A record has the lane's changes after `after` and up to `to`; each invocation has one record, and writes its
 * items in one call. A lane that has passed its last change has everything, so the Checkpoint may be further than the
 * lane. On one change, or none, the function fails each time, and Lambda gives its record up. The sender may be that of
 * `retry-dead`: it lets the lane pass such a record, with a dead letter for each of its items, and in the end writes
 * these as the source has them. README.md has the variants.
 */

#ifndef LAST
#define LAST 3           /* changes of the log */
#endif
#ifndef SLOTS
#define SLOTS 4          /* records that are ever put */
#endif
#define NONE 2           /* invocations are 0 and 1 */
#define RETRY 3          /* holds the lease for `retry-dead` */

bool own[LAST + 1];      /* whether change n is of this lane */
byte after[SLOTS], to[SLOTS];
bool lost[SLOTS];        /* the stream does not have it any more */
byte poison = 0;         /* the change on which the function fails, 0 for none */
byte given = 0;          /* the record that was given up last, from 1; 0 for none */
bool letter[2];          /* a dead letter of the item is durable */
byte tail = 0, head = 0;
byte item[2];
byte passed = 0;         /* of the lane, in the table of marks */
bool gap = false;        /* noted by an invocation, until the sender has seen it */
byte lease = NONE;
byte from[2], upto[2];   /* a call under way: carried out at any time, or not at all */
bool gone[4];            /* of each holder of the lease: it was killed, and keeps it */
byte applied = 0;        /* the Checkpoint */
byte troubles = 0;
#ifndef TROUBLES
#define TROUBLES 1       /* kills, calls that come twice, records that are lost */
#endif

#define UNDER_WAY(me) (upto[me] != 0)
#define FAILS(at) (after[at] < poison && poison <= to[at])
#define AT (given - 1)
/* What the Checkpoint says is applied is in the items, or something newer, or it is to be retried. */
#define HAS(n) (applied < n || item[n % 2] >= n * own[n] || letter[n % 2])
#define RIGHT (HAS(1) && HAS(2) && HAS(3))

inline write_items(me, last) {
    n = from[me];
    do
    :: n < last ->
        n++;
        if
        :: own[n] -> item[n % 2] = n
        :: else
        fi
    :: else -> break
    od;
    n = 0
}

inline carry_out(me) {
    d_step {
        write_items(me, upto[me]);
        from[me] = 0;
        upto[me] = 0;
        assert(RIGHT)
    }
}

inline put(a, t) {
    d_step { after[tail] = a; to[tail] = t; tail++ }
}

proctype network() {
    byte n = 0;
end:
    do
    :: UNDER_WAY(0) -> carry_out(0)
    :: UNDER_WAY(1) -> carry_out(1)
    od
}

/* A lease ends by the clock. Whoever had it has ended all its calls by then. */
proctype clock() {
end:
    do
#ifdef LEASE_ENDS_EARLY
    :: atomic { lease != NONE && gone[lease] -> gone[lease] = false; lease = NONE }
#else
    :: atomic {
            lease != NONE && gone[lease] && (lease == RETRY || !UNDER_WAY(lease)) ->
            gone[lease] = false;
            lease = NONE
        }
#endif
    od
}

proctype invocation(byte me) {
    byte at, known, n = 0;
end:
    do
    :: atomic { head < tail && !gone[me] && !UNDER_WAY(me) -> at = head };
        if
        :: atomic { at > 0 && troubles < TROUBLES -> at--; troubles++ }  /* a batch that comes once more */
        :: skip
        fi;
        atomic { lease == NONE -> lease = me };
        known = passed;
        if
        :: lost[at]
        :: !lost[at] && FAILS(at) -> given = at + 1
#ifndef DUPLICATE_APPLIED
        :: !lost[at] && !FAILS(at) && to[at] <= known
#endif
#ifndef GAP_APPLIED
        :: !lost[at] && !FAILS(at) && to[at] > known && after[at] > known -> gap = true
        :: !lost[at] && !FAILS(at) && to[at] > known && after[at] <= known ->
#else
        :: !lost[at] && !FAILS(at) && to[at] > known ->
#endif
#ifdef PASSED_BEFORE_WRITE
            passed = to[at];
#endif
            atomic { from[me] = (known > after[at] -> known : after[at]); upto[me] = to[at] };
            if
            :: !UNDER_WAY(me)                          /* answered */
            :: atomic { troubles < TROUBLES -> troubles++; gone[me] = true; goto killed }
            :: atomic {
                    troubles < TROUBLES && UNDER_WAY(me) ->  /* killed before it was sent */
                    troubles++; gone[me] = true; from[me] = 0; upto[me] = 0; goto killed
                }
            :: atomic { troubles < TROUBLES && UNDER_WAY(me) -> troubles++ };
                /* No answer came. It is made again, and that one is answered; the first may still arrive. */
                d_step { write_items(me, to[at]) };
                passed = to[at];
                head = (head > at -> head : at + 1);
#ifdef RELEASED_UNANSWERED
                lease = NONE;
#else
                gone[me] = true;
#endif
                goto killed
            fi;
            passed = to[at]
#ifdef DUPLICATE_APPLIED
        :: !lost[at] && !FAILS(at) && to[at] <= known ->
            atomic { from[me] = after[at]; upto[me] = to[at] };
            !UNDER_WAY(me)
#endif
        fi;
        atomic { head = (head > at -> head : at + 1); lease = NONE };
killed: skip
    od
}

/* Whoever sends from `place` on: everything before it is in the stream, or applied. */
inline begin(place) {
    sent = place;
    last = place;
#ifdef RESUMED_WITHOUT_NEEDED
    needed = applied;
#else
    needed = place;
#endif
    passed = (passed > applied -> passed : applied)
}

#ifdef LEASE_NOT_WAITED
#define FREE true
#else
#define FREE (lease == NONE)
#endif
#ifdef PASSED_OVER_A_GAP
#define IS_NEXT (passed < to[AT])
#else
#define IS_NEXT (after[AT] <= passed && passed < to[AT])
#endif

/* Of what the lane is to pass. */
inline write_letters() {
    d_step {
        n = had;
        do
        :: n < to[at] ->
            n++;
            if
            :: own[n] -> letter[n % 2] = true
            :: else
            fi
        :: else -> break
        od;
        n = 0
    }
}

/* As the source has the rows now, or with no row left, which is newer than any change, too. */
inline write_from_source(which) {
    item[which] = LAST
}

proctype sender() {
    byte at, had, n = 0;
    bool which;
    byte sent = 0;       /* up to here the log is packed */
    byte last = 0;       /* up to here the lane's records are */
    byte needed = 0;     /* the lane's last change that is packed */
    byte marked = 0;     /* sent.json: all records up to here are in the stream */
    do
    :: atomic {
            sent < LAST && tail < SLOTS ->
            sent++;
            if
            :: own[sent] -> needed = sent; put(last, sent); last = sent
            :: else
            fi
        }
    :: atomic {
            sent + 1 < LAST && tail < SLOTS && (own[sent + 1] || own[sent + 2]) ->
            sent = sent + 2;
            needed = (own[sent] -> sent : sent - 1);
            put(last, sent);
            last = sent
        }
    :: atomic { last < sent && tail < SLOTS -> put(last, sent); last = sent }  /* a marker */
    :: atomic { last == sent && marked < sent -> marked = sent }
    :: atomic { sent == LAST && applied < LAST && head == tail && tail < SLOTS -> put(last, sent); last = sent }  /* a probe */
    :: atomic { tail > 0 && tail < SLOTS && troubles < TROUBLES -> troubles++; put(after[tail - 1], to[tail - 1]) }
    :: atomic { tail > 0 && head < tail && !lost[tail - 1] && troubles < TROUBLES -> troubles++; lost[tail - 1] = true }
    :: atomic { marked > applied && troubles < TROUBLES -> troubles++; begin(marked) }  /* a crash */
    :: atomic { sent > applied && troubles < TROUBLES -> troubles++; begin(applied) }  /* a crash, or an older sent.json */
    :: atomic { gap -> gap = false; begin(applied) }
    :: atomic { given && !lost[AT] && FREE && IS_NEXT -> lease = RETRY; at = AT; had = (passed > after[at] -> passed : after[at]) };
#ifdef PASSED_BEFORE_LETTERS
        passed = to[at];
#else
        write_letters();
#endif
        if
        :: atomic { troubles < TROUBLES -> troubles++; gone[RETRY] = true; begin(applied) }  /* killed */
        :: atomic {
#ifdef PASSED_BEFORE_LETTERS
                write_letters();
#endif
                passed = to[at];
                lease = NONE
            }
        fi
    :: atomic { applied == LAST && (letter[0] || letter[1]) && FREE -> which = letter[1] };
#ifdef LETTERS_GO_FIRST
        letter[which] = false;
#else
        write_from_source(which);
#endif
        if
        :: atomic { troubles < TROUBLES -> troubles++; begin(applied) }  /* killed */
        :: atomic {
#ifdef LETTERS_GO_FIRST
                write_from_source(which);
#endif
                letter[which] = false
            }
        fi
#ifdef CHECKPOINT_BY_SENT
    :: atomic { applied < sent -> applied = sent }
#else
    :: atomic { applied < sent && passed >= needed -> applied = sent }
    :: atomic { applied < passed && passed < needed -> applied = passed }
#endif
    :: timeout -> break
    od;
    assert(applied == LAST || tail == SLOTS);
    assert(RIGHT)
}

init {
    byte n = 2;
    own[1] = true;       /* before the lane's first change there is nothing to lose */
    do
    :: n <= LAST ->
        if
        :: own[n] = true
        :: skip
        fi;
        n++
    :: else -> break
    od;
    if
    :: true
    :: own[2] -> poison = 2
    fi;
    atomic { run network(); run clock(); run sender(); run invocation(0); run invocation(1) }
}
