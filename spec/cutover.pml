/* The order of a cutover and of a rollback, checked by spin over every interleaving, with a crash between any two steps.
 *
 * Applications write one row, at MySQL or at DynamoDB as their route says, and count what was acknowledged. The
 * coordinator fences MySQL, drains, verifies, seals, decides and switches; later it may go back. At every moment at most
 * one side takes writes, and at the end exactly one does and has every acknowledged write. README.md says what is
 * modelled, what is not, and what each broken variant (#ifdef) does wrong.
 */

#define APPS 2
#ifndef WRITES
#define WRITES 3
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef CUTOVERS
#define CUTOVERS 2
#endif
#define LOG 8

mtype = { MYSQL, NOWHERE, DYNAMODB };
mtype = { FOLLOWING, CUTTING, DECIDED, OPEN, CLOSING, RETURNED };

/* ---- durable ---- */
byte row = 0;                 /* MySQL's row: the number of the write that it has */
byte logged[LOG];             /* its binlog */
byte log_end = 0;
bool fence = false;           /* the triggers: no statement of an application is taken */
byte place = 0;               /* of the reverse stream, saved in MySQL with the rows */
byte item = 0;                /* DynamoDB's item */
bool stream_on = false;
byte stream[WRITES];          /* what applications wrote to DynamoDB while the stream was on */
byte stream_end = 0;
mtype state = FOLLOWING;      /* the coordinator's, saved before what follows from it */
byte applied = 0;             /* the forward migration's place in the binlog */
mtype route = MYSQL;          /* where applications write: what the hooks set */

/* ---- of the applications ---- */
byte begun = 0;
byte acknowledged = 0;
bool transaction[APPS];       /* open at MySQL: it holds the table's metadata lock */
bool prepared[APPS];          /* an XA transaction that no session has any more: it holds row locks alone */
mtype known[APPS] = NOWHERE;  /* the route that each goes by, until its lease ends */
byte finished = 0;

/* ---- lost in a crash of whimbrel ---- */
bool lock = false;            /* LOCK TABLES … WRITE of the coordinator's session */
byte last = 0;                /* the end position P */

byte crashes = 0;
byte cutovers = 0;
byte rollbacks = 0;

#define MAY_CRASH if :: crashes < CRASHES -> crashes++; goto crash :: true fi

#ifdef XA_NOT_READ
#define BLOCKS(app) (transaction[app] && !prepared[app])
#else
#define BLOCKS(app) transaction[app]  /* the plan and the seal ask XA RECOVER, which must be empty */
#endif

inline log_row(value) {
    row = value;
    logged[log_end] = value;
    log_end++
}

/* The statement finds neither lock nor fence; the transaction ends later. */
proctype application(byte me) {
    do
    :: atomic { begun < WRITES && route != NOWHERE -> known[me] = route };
        if
        :: known[me] == MYSQL ->
            if
            :: atomic {
                    !lock && !fence && begun < WRITES ->
                    begun++;
                    transaction[me] = true;
                    if :: prepared[me] = true :: prepared[me] = false fi
                };
                atomic {
                    assert(state == FOLLOWING || state == CUTTING || state == RETURNED);
                    acknowledged++;
                    log_row(acknowledged);
                    transaction[me] = false
                }
            :: fence || begun == WRITES  /* refused: the route is asked again */
            fi
        :: known[me] == DYNAMODB ->
            if
            :: atomic {
                    begun < WRITES ->
                    assert(fence && (state == DECIDED || state == OPEN || state == CLOSING));
                    begun++;
                    acknowledged++;
                    item = acknowledged;
                    if
                    :: stream_on -> stream[stream_end] = acknowledged; stream_end++
                    :: else
                    fi
                }
            :: begun == WRITES
            fi
        fi;
        known[me] = NOWHERE
    :: begun == WRITES -> break
    od;
    finished++
}

/* Capture and apply. It ends with the decision, and does not pause: else what the reverse stream wrote would come back. */
#ifdef FORWARD_NOT_ENDED
#define FORWARD true
#else
#define FORWARD (state == FOLLOWING || state == CUTTING)
#endif

proctype forward() {
end:
    do
    :: atomic { FORWARD && applied < log_end -> item = logged[applied]; applied++ }
    od
}

proctype reverse() {
    byte held;
end:
    do
    :: atomic {
            (state == OPEN || state == CLOSING) && place < stream_end ->
#ifdef PLACE_BEFORE_ROWS
            held = stream[place];
            place++
        };
        if
        :: atomic { true -> log_row(held) }
        :: crashes < CRASHES -> crashes++
        fi
#else
            log_row(stream[place]);  /* one transaction: the rows and the place */
            place++
        }
#endif
    od
}

/* A person who removes the fence by hand, once, before the decision. */
proctype somebody() {
end:
    atomic { state == CUTTING && fence -> fence = false }
}

#ifdef FENCE_WITHOUT_LOCK
#define take_lock() skip
#else
#define take_lock() atomic { !BLOCKS(0) && !BLOCKS(1) -> lock = true }
#endif

proctype coordinator() {
crash:
    lock = false;
    last = 0;
    do
    :: state == FOLLOWING && cutovers < CUTOVERS ->
        atomic { cutovers++; state = CUTTING; MAY_CRASH };
#ifndef STREAM_AFTER_SWITCH
        atomic { stream_on = true; MAY_CRASH };
#endif
        if
        :: take_lock()
        :: goto undo  /* somebody holds the table for longer than a moment */
        fi;
        atomic { fence = true; MAY_CRASH };
        atomic { last = log_end; MAY_CRASH };
        atomic { lock = false; MAY_CRASH };
        if
#ifdef VERIFIED_BEFORE_DRAINED
        :: true
#else
        :: applied >= last
#endif
        :: goto undo  /* it takes longer than max_stall */
        fi;
        /* Sealed: under the lock again, nothing has come after the end and the fence is as it was made. */
        take_lock();
#ifdef NO_SEAL
        if
        :: atomic { true ->
#else
        if
        :: atomic { !(fence && log_end == last) -> goto undo }
        :: atomic { fence && log_end == last ->
#endif
#ifdef ROUTE_BEFORE_DECISION
                route = DYNAMODB; MAY_CRASH;
#endif
                assert(row == item && row == acknowledged && applied == log_end);
                state = DECIDED;
                MAY_CRASH }
        fi;
        atomic { lock = false; MAY_CRASH }
    :: state == CUTTING ->  /* a crash before the decision: the application goes on at MySQL as if nothing had been */
undo:
#ifdef STATE_BEFORE_UNDO
        atomic { lock = false; state = FOLLOWING; MAY_CRASH };
        fence = false
#else
        atomic { lock = false; fence = false; MAY_CRASH };
        atomic { state = FOLLOWING; MAY_CRASH }
#endif
    :: state == DECIDED ->  /* nothing is undone from here on: the hooks are called until they succeed */
        do
        :: atomic { true -> MAY_CRASH }  /* a hook fails, perhaps for ever: no side takes writes, and nothing is lost */
        :: break
        od;
        atomic { route = DYNAMODB; MAY_CRASH };
#ifdef STREAM_AFTER_SWITCH
        atomic { stream_on = true; MAY_CRASH };
#endif
        atomic { state = OPEN; MAY_CRASH }
    :: (state == DECIDED || state == OPEN) && rollbacks == 0 ->  /* from DECIDED if the hooks never succeed */
        atomic { rollbacks++; state = CLOSING; MAY_CRASH }
    :: state == CLOSING ->  /* it fails, and DynamoDB is opened again; the reverse stream goes on */
        atomic { route = DYNAMODB; MAY_CRASH };
        atomic { state = OPEN; MAY_CRASH }
    :: state == CLOSING ->
        atomic { route = NOWHERE; MAY_CRASH };
#ifndef OPENED_WITHIN_LEASE
        known[0] != DYNAMODB && known[1] != DYNAMODB;
#endif
#ifndef OPENED_BEFORE_DRAINED
        place == stream_end;
#endif
        atomic {
            assert(row == item && row == acknowledged);
            state = RETURNED;
#ifndef FORWARD_FROM_NOW
            applied = log_end;  /* saved with the decision, while the fence still stands */
#endif
            MAY_CRASH
        }
    :: state == RETURNED ->
        atomic { fence = false; MAY_CRASH };
        atomic { route = MYSQL; MAY_CRASH };
#ifdef FORWARD_FROM_NOW
        atomic { applied = log_end; MAY_CRASH };
#endif
        atomic { state = FOLLOWING; MAY_CRASH }
    :: finished == APPS && (state == FOLLOWING || state == OPEN) -> break
    od;
    if
    :: state == FOLLOWING -> assert(!fence && route == MYSQL && row == acknowledged);
        applied == log_end;
        assert(item == acknowledged)
    :: state == OPEN -> assert(fence && route == DYNAMODB && item == acknowledged);
        place == stream_end;
        assert(row == acknowledged)
    fi
}

init {
    atomic {
        run application(0);
        run application(1);
        run forward();
        run reverse();
        run somebody();
        run coordinator()
    }
}
