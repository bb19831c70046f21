#include "control.h"
#include "engine.h"
#include "plan.h"
#include "shm_layout.h"
