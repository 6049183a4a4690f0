/* Several coordinators of one cutover, checked by spin over every interleaving: a copied state folder, a process that is
 * taken for dead and wakes up, a command that is killed anywhere and given again.
 *
 * What they share is a row in MySQL (step, epoch, holder), the fence's triggers, and the route of the applications.
 * Every command takes over with a new epoch; whoever has an older one can do no harm. README.md says what each broken
 * variant (#ifdef) does wrong.
 */

#ifndef COMMANDS
#define COMMANDS 2
#endif
#define LAST 2  /* the coordinator whose command is not killed, after all others */

mtype = { MYSQL, NOWHERE, DYNAMODB };
mtype = { FOLLOWING, CUTTING, DECIDED, OPEN, CLOSING, RETURNED };

mtype step = FOLLOWING;       /* the row in MySQL: read and written in one statement */
byte epoch = 0;
byte holder = LAST;
bool fence = false;           /* made and removed under LOCK TABLES, which has the row too */
mtype route = MYSQL;
byte route_epoch = 0;
byte ended = 0;

#define MINE (holder == me && epoch == mine)

#ifdef FENCE_WITHOUT_ROW
#define MAY_FENCE true
#else
#define MAY_FENCE MINE
#endif
#ifdef UNDO_OF_ANOTHERS
#define MAY_UNDO true
#else
#define MAY_UNDO MINE
#endif
#ifdef DECIDED_BY_FILE
#define MAY_DECIDE (step == CUTTING || step == FOLLOWING)
#else
#define MAY_DECIDE (MINE && step == CUTTING)
#endif
#ifdef ROUTE_WITHOUT_EPOCH
#define ROUTE_IS_OLDER true
#else
#define ROUTE_IS_OLDER (route_epoch <= mine)
#endif

#define KILLED if :: me != LAST -> goto over :: true fi

inline set_route(side) {
    if
    :: ROUTE_IS_OLDER -> route = side; route_epoch = mine
    :: else
    fi;
    assert(route != DYNAMODB || fence);  /* else both sides take writes */
    KILLED
}

inline take_over(next) {
    epoch++;
    mine = epoch;
    holder = me;
    step = next
}

proctype coordinator(byte me) {
    byte mine;
    byte commands = 0;
    (me != LAST || ended == 2);
    do
    :: commands < (me == LAST -> 1 : COMMANDS) ->
        commands++;
        if
        :: atomic { step == FOLLOWING -> take_over(CUTTING); KILLED } -> goto cut
        :: atomic { step == CUTTING -> take_over(CUTTING); KILLED } -> goto undo
        :: atomic { step == DECIDED -> take_over(DECIDED); KILLED } -> goto open
        :: atomic { step == DECIDED || step == OPEN -> take_over(CLOSING); KILLED } -> goto close
        :: atomic { step == CLOSING -> take_over(CLOSING); KILLED } -> goto close
        :: atomic { step == CLOSING -> take_over(CLOSING); KILLED } -> goto open_again
        :: atomic { step == RETURNED -> take_over(RETURNED); KILLED } -> goto give_back
        fi;
cut:
        atomic {
            if
            :: MAY_FENCE -> fence = true
            :: else -> goto over  /* refused by name: another has taken over */
            fi;
            KILLED
        };
        if
        :: true -> goto undo
        :: true
        fi;
        atomic {
            if
            :: MAY_DECIDE && fence -> step = DECIDED
            :: else -> goto over
            fi;
            KILLED
        };
open:
        atomic { set_route(DYNAMODB) };
        atomic { if :: MINE && step == DECIDED -> step = OPEN :: else fi; KILLED };
        goto over;
undo:
        atomic { if :: MAY_UNDO -> fence = false; assert(route != DYNAMODB) :: else -> goto over fi; KILLED };
        atomic { if :: MINE && step == CUTTING -> step = FOLLOWING :: else fi; KILLED };
        goto over;
open_again:
        atomic { set_route(DYNAMODB) };
        atomic { if :: MINE && step == CLOSING -> step = OPEN :: else fi; KILLED };
        goto over;
close:
        atomic { set_route(NOWHERE) };
        if
        :: true -> goto open_again  /* what DynamoDB has could not be brought back */
        :: true
        fi;
        atomic { if :: MINE && step == CLOSING -> step = RETURNED :: else -> goto over fi; KILLED };
give_back:
        atomic { if :: MAY_UNDO -> fence = false; assert(route != DYNAMODB) :: else -> goto over fi; KILLED };
        atomic { set_route(MYSQL) };
        atomic { if :: MINE && step == RETURNED -> step = FOLLOWING :: else fi; KILLED };
over:
        mine = 0
    :: commands == (me == LAST -> 1 : COMMANDS) -> break
    :: me != LAST || step == FOLLOWING || step == OPEN -> break  /* one side is open: nobody need do anything */
    od;
    ended++;
    if
    :: me == LAST ->
        assert(step == FOLLOWING || step == OPEN);
        assert(step != FOLLOWING || (!fence && route == MYSQL));
        assert(step != OPEN || (fence && route == DYNAMODB))
    :: else
    fi
}

init {
    atomic {
        run coordinator(0);
        run coordinator(1);
        run coordinator(LAST)
    }
}
