/* The source is destroyed at any moment of a cutover or a rollback, checked by spin over every interleaving: by the state
 * folder's file alone DynamoDB is opened only where it has every write that the source took.
 *
 * A step is in the row in MySQL first, and then in the file; what belongs to it is in the file before. A command may be
 * killed between any two steps, and the next one takes over from the row. README.md says what each broken variant
 * (#ifdef) does wrong.
 */

#ifndef COMMANDS
#define COMMANDS 4
#endif

mtype = { FOLLOWING, CUTTING, DECIDED, OPEN, CLOSING, RETURNED };

mtype row = FOLLOWING;        /* in MySQL */
mtype file = FOLLOWING;       /* in the state folder */
bool ended = false;           /* the file has the end of the source */
bool asked = false;           /* the file has the place where the source is given back */
bool fence = false;
bool alive = true;            /* the source */
bool taken = false;           /* it took a write that DynamoDB lacks */

#define STEP(now) atomic { if :: !alive -> goto gone :: alive -> now; if :: goto next :: true fi fi }

#ifdef GONE_BY_STEP
#define NOT_ASKED true
#else
#define NOT_ASKED (!asked)
#endif
#ifdef GONE_BY_END
#define SOURCE_ENDED (file == CUTTING && ended)
#else
#define SOURCE_ENDED false
#endif

active proctype coordinator() {
    byte commands = 0;
next:
    atomic { if :: !alive -> goto gone :: alive && commands < COMMANDS -> commands++; file = row fi };
    if
    :: file == FOLLOWING -> goto cut
    :: file == CUTTING -> goto undo
    :: file == DECIDED -> goto open
    :: file == DECIDED || file == OPEN -> goto close
    :: file == CLOSING -> goto closed
    :: file == CLOSING -> goto open
    :: file == RETURNED -> goto give_back
    fi;
cut:
    STEP(ended = false);
    STEP(row = CUTTING);
    STEP(file = CUTTING);
    STEP(fence = true);
    if :: true -> goto undo :: true fi;
    STEP(ended = true);  /* under the seal: drained to the end */
    STEP(row = DECIDED; taken = false);
    STEP(file = DECIDED);
open:
    STEP(row = OPEN);
    STEP(file = OPEN);
    goto next;
undo:
    STEP(fence = false);
    STEP(row = FOLLOWING);
    STEP(file = FOLLOWING);
    goto next;
close:
    STEP(asked = false);
    STEP(row = CLOSING);
    STEP(file = CLOSING);
closed:
    if :: true -> goto open :: true fi;
#ifdef PLACE_AFTER_ROW
    STEP(row = RETURNED);
    STEP(fence = false);
    STEP(asked = true);
#else
    STEP(asked = true);
    STEP(row = RETURNED);
    STEP(fence = false);
#endif
    STEP(file = RETURNED);
give_back:
    STEP(fence = false);
    STEP(row = FOLLOWING);
    STEP(file = FOLLOWING);
    goto next;
gone:
    if
    :: file == DECIDED || file == OPEN || (file == CLOSING && NOT_ASKED) || SOURCE_ENDED -> assert(!taken)
    :: else  /* refused: nobody can tell */
    fi
}

active proctype application() {
end:
    do
    :: atomic { alive && !fence && !taken -> taken = true }
    :: !alive -> break
    od
}

active proctype disaster() {
    alive = false
}
