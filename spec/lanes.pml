/* One lane of a stream, from the log to the items, checked by spin: what comes twice, late or not at all.
 *
 * Change n of the log sets item n % 2 to n. A record has the changes after `after` and up to `to`; each invocation has one
 * record, and writes its items in one call. README.md has the variants.
 */

#ifndef LAST
#define LAST 3           /* changes of the log */
#endif
#ifndef SLOTS
#define SLOTS 4          /* records that are ever put */
#endif
#define NONE 2           /* invocations are 0 and 1 */

byte after[SLOTS], to[SLOTS];
bool lost[SLOTS];        /* the stream does not have it any more, or the failure destination has */
byte tail = 0, head = 0;
byte item[2];
byte passed = 0;         /* of the lane, in the table of marks */
bool gap = false;        /* noted by an invocation, until the sender has seen it */
byte lease = NONE;
byte from[2], upto[2];   /* a call under way: carried out at any time, or not at all */
bool gone[2];            /* the invocation was killed, and keeps its lease */
byte applied = 0;        /* the Checkpoint */
byte troubles = 0;
#ifndef TROUBLES
#define TROUBLES 1       /* kills, calls that come twice, records that are lost */
#endif

#define UNDER_WAY(me) (upto[me] != 0)

inline carry_out(me) {
    d_step {
        n = from[me];
        do
        :: n < upto[me] -> n++; item[n % 2] = n
        :: else -> break
        od;
        n = 0;
        from[me] = 0;
        upto[me] = 0;
        /* What the Checkpoint says is applied is in the items, or something newer. */
        assert((applied < 1 || item[1] >= 1) && (applied < 2 || item[0] >= 2) && (applied < 3 || item[1] >= 3))
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
    :: atomic { lease != NONE && gone[lease] && !UNDER_WAY(lease) -> gone[lease] = false; lease = NONE }
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
#ifndef DUPLICATE_APPLIED
        :: !lost[at] && to[at] <= known
#endif
#ifndef GAP_APPLIED
        :: !lost[at] && to[at] > known && after[at] > known -> gap = true
        :: !lost[at] && to[at] > known && after[at] <= known ->
#else
        :: !lost[at] && to[at] > known ->
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
                d_step {
                    n = from[me];
                    do
                    :: n < to[at] -> n++; item[n % 2] = n
                    :: else -> break
                    od;
                    n = 0
                };
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
        :: !lost[at] && to[at] <= known ->
            atomic { from[me] = after[at]; upto[me] = to[at] };
            !UNDER_WAY(me)
#endif
        fi;
        atomic { head = (head > at -> head : at + 1); lease = NONE };
killed: skip
    od
}

proctype sender() {
    byte sent = 0;       /* up to here everything is in the stream */
    do
    :: atomic { sent < LAST && tail < SLOTS -> put(sent, sent + 1); sent = sent + 1 }
    :: atomic { sent + 1 < LAST && tail < SLOTS -> put(sent, sent + 2); sent = sent + 2 }
    :: atomic { sent == LAST && applied < LAST && head == tail && tail < SLOTS -> put(LAST, LAST) }  /* a probe */
    :: atomic { tail > 0 && tail < SLOTS && troubles < TROUBLES -> troubles++; put(after[tail - 1], to[tail - 1]) }
    :: atomic { tail > 0 && head < tail && !lost[tail - 1] && troubles < TROUBLES -> troubles++; lost[tail - 1] = true }
    :: atomic { sent > applied && troubles < TROUBLES -> troubles++; sent = applied }  /* a crash, or an older sent.json */
    :: atomic { gap -> gap = false; sent = applied }
#ifdef CHECKPOINT_BY_SENT
    :: atomic { applied < sent -> applied = sent }
#else
    :: atomic { applied < passed -> applied = passed }
#endif
    :: timeout -> break
    od;
    assert(applied == LAST || tail == SLOTS);
    assert((applied < 1 || item[1] >= 1) && (applied < 2 || item[0] >= 2) && (applied < 3 || item[1] >= 3))
}

init {
    atomic { run network(); run clock(); run sender(); run invocation(0); run invocation(1) }
}
