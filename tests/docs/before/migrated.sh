whimbrel migrate --until-caught-up
