/* A cutover and its way back where changes go through a stream, for one lane of it, checked by spin.
 *
 * lanes.pml has how changes come into the items. Here the application writes the items itself once DynamoDB is open, and
 * nothing that is late may write them then. Afterwards the log goes on, through the same lane of the same stream.
 */

#define LAST 2           /* changes before the source was closed; one more comes after the return */
#ifndef SLOTS
#define SLOTS 4          /* records that are ever put */
#endif
#ifndef TROUBLES
#define TROUBLES 2       /* kills, calls that come twice, records and batches that come again */
#endif
#define NONE 2           /* invocations are 0 and 1 */
#define APPLICATION 9    /* what the application writes into both items */

byte after[SLOTS], to[SLOTS], plus[SLOTS];
byte tail = 0, head = 0;
byte item[2];
byte passed = 0;         /* of the lane, in the table of marks */
byte lease = NONE;
byte from[2], upto[2], adds[2];  /* a call under way: carried out at any time, or not at all */
bool gone[2];            /* the invocation was killed, and keeps its lease */
byte sent = 0, logged = LAST;
byte begun = 0;          /* what the second log's changes write more than their numbers */
byte troubles = 0;
bool open = false, returned = false;

#define UNDER_WAY(me) (upto[me] != 0)

inline carry_out(me) {
    d_step {
        n = from[me];
        do
        :: n < upto[me] -> n++; item[n % 2] = n + adds[me]
        :: else -> break
        od;
        n = 0;
        from[me] = 0;
        upto[me] = 0;
        assert(!open)
    }
}

inline put(a, t, p) {
    d_step { after[tail] = a; to[tail] = t; plus[tail] = p; tail++ }
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
    :: atomic { lease != NONE && gone[lease] && !UNDER_WAY(lease) -> gone[lease] = false; lease = NONE }
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
        :: to[at] <= known || after[at] > known  /* known already, or a gap: the sender goes back */
        :: else ->
            atomic { from[me] = (known > after[at] -> known : after[at]); upto[me] = to[at]; adds[me] = plus[at] };
            if
            :: !UNDER_WAY(me)                          /* answered */
            :: atomic { troubles < TROUBLES -> troubles++; gone[me] = true; goto killed }
            :: atomic { troubles < TROUBLES && UNDER_WAY(me) -> troubles++ };
                /* No answer came. It is made again, and that one is answered; the first may still arrive. */
                d_step {
                    n = (known > after[at] -> known : after[at]);
                    do
                    :: n < to[at] -> n++; item[n % 2] = n + plus[at]
                    :: else -> break
                    od;
                    n = 0
                };
                passed = to[at];
                gone[me] = true;
                head = (head > at -> head : at + 1);
                goto killed
            fi;
            passed = to[at]
        fi;
        atomic { head = (head > at -> head : at + 1); lease = NONE };
killed: skip
    od
}

proctype sender() {
end:
    do
    :: atomic { sent < logged && tail < SLOTS -> put(sent, sent + 1, begun); sent = sent + 1 }
    :: atomic { passed < logged && sent == logged && head == tail && tail < SLOTS -> sent = passed }
    /* A call of a sender that died long ago. */
    :: atomic {
            tail > 0 && tail < SLOTS && troubles < TROUBLES ->
            troubles++; put(after[tail - 1], to[tail - 1], plus[tail - 1])
        }
    od
}

proctype coordinator() {
#ifdef QUIET_BEFORE_APPLIED
    lease == NONE;
    passed == LAST;
#else
    passed == LAST;
#ifndef OPENED_WHEN_APPLIED
    lease == NONE;
#endif
#endif
    d_step { open = true; item[0] = APPLICATION; item[1] = APPLICATION };
    /* The rollback: the source has what the items have, and the next change is logged. */
    d_step {
        open = false;
#ifdef LOG_BEGINS_AGAIN
        passed = 0;
        sent = 0;
        logged = 1;
        begun = 20;
#else
        logged = LAST + 1;
#endif
        returned = true
    };
    timeout;
    assert(passed < logged || (item[0] == APPLICATION && item[1] == logged + begun))
}

init {
    atomic { run network(); run clock(); run sender(); run invocation(0); run invocation(1); run coordinator() }
}
